"""Personal data under one key for each customer, so that destroying a key forgets a person.

Invariant: a key lies in the database only wrapped by the master key, which does not. Sealed is what
an event's personal marks name; see redaction.py.
"""

from service.vault.customer_key import CustomerKey, place
from service.vault.opener import Opener
from service.vault.redaction import blanked, is_personal
from service.vault.rotation import (
    Rewrapped,
    begin_rotation,
    count_keys,
    finish_rotation,
    is_rotated,
    rewrap,
)
from service.vault.vault import Vault

__all__ = [
    "CustomerKey",
    "Opener",
    "Rewrapped",
    "Vault",
    "begin_rotation",
    "blanked",
    "count_keys",
    "finish_rotation",
    "is_personal",
    "is_rotated",
    "place",
    "rewrap",
]
