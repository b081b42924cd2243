"""What can be asked of a customer. Ids arrive in the command: nothing is drawn while deciding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from service.events import Address, CustomerChanges, MetadataValue
from service.identifiers import AddressId, CustomerId

NO_CHANGES = CustomerChanges()
NO_METADATA: Mapping[str, MetadataValue] = {}


class CreateCustomer(NamedTuple):
    """A new customer under an id that was made for it."""

    id: CustomerId
    email: str
    first_name: str | None = None
    last_name: str | None = None
    phone: str | None = None
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, MetadataValue] = NO_METADATA
    addresses: tuple[Address, ...] = ()
    is_active: bool = True


@dataclass(frozen=True, slots=True)
class UpdateCustomer:
    """A merge patch: only what is in `changes.model_fields_set` changes; `metadata` merges by key,
    a null removing it. `tags` replaces all; `addresses` must be what they are already."""

    changes: CustomerChanges = NO_CHANGES
    metadata: Mapping[str, MetadataValue] | None = None
    clear_metadata: bool = False
    tags: tuple[str, ...] | None = None
    is_active: bool | None = None
    addresses: tuple[Address, ...] | None = None


@dataclass(frozen=True, slots=True)
class AddTags:
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RemoveTags:
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AddAddress:
    """`address.is_default` asks for the mark; the first address gets it in any case."""

    address: Address


@dataclass(frozen=True, slots=True)
class UpdateAddress:
    """`changes` holds new values by the name of the field in `Address`."""

    address_id: AddressId
    changes: Mapping[str, str | bool | None]


@dataclass(frozen=True, slots=True)
class RemoveAddress:
    address_id: AddressId


@dataclass(frozen=True, slots=True)
class DeleteCustomer:
    """For good."""


Command: TypeAlias = (
    CreateCustomer
    | UpdateCustomer
    | AddTags
    | RemoveTags
    | AddAddress
    | UpdateAddress
    | RemoveAddress
    | DeleteCustomer
)
