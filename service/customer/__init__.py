"""The customer: its state, what can be asked of it, and what follows. Pure.

Invariant: `decide` says what happens, `evolve` what it means, and neither knows anything but what
it is given, so every rule of the contract is tested without any input or output.
"""

from service.customer.claims import emails
from service.customer.commands import (
    NO_CHANGES,
    AddAddress,
    AddTags,
    Command,
    CreateCustomer,
    DeleteCustomer,
    RemoveAddress,
    RemoveTags,
    UpdateAddress,
    UpdateCustomer,
)
from service.customer.contributions import Contribution
from service.customer.decisions import ADDRESSES_MAX, METADATA_KEYS_MAX, TAGS_MAX, decide
from service.customer.state import Customer, evolve, fold, snapshot_state, unread

__all__ = [
    "ADDRESSES_MAX",
    "METADATA_KEYS_MAX",
    "NO_CHANGES",
    "TAGS_MAX",
    "AddAddress",
    "AddTags",
    "Command",
    "Contribution",
    "CreateCustomer",
    "Customer",
    "DeleteCustomer",
    "RemoveAddress",
    "RemoveTags",
    "UpdateAddress",
    "UpdateCustomer",
    "decide",
    "emails",
    "evolve",
    "fold",
    "snapshot_state",
    "unread",
]
