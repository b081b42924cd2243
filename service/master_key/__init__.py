"""The master key: what it is, where it comes from, and that the database knows it.

Invariant: it is never in the database, and never replaced while anything there needs it.
"""

from service.master_key.key import MasterKey
from service.master_key.provide import (
    check_master_key,
    lock_master_key,
    provide_master_key,
    require_master_key,
)
from service.master_key.source import KeyProvider, KeySource
from service.master_key.wrapping_key import WrappingKey

__all__ = [
    "KeyProvider",
    "KeySource",
    "MasterKey",
    "WrappingKey",
    "check_master_key",
    "lock_master_key",
    "provide_master_key",
    "require_master_key",
]
