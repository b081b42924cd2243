"""The request bodies, and what each asks of the domain.

Invariant: absent, null and given are three things (RFC 7396), and `model_fields_set` tells them
apart. Fields that the service alone decides are accepted and ignored, so that a document which
this API answered can be edited and sent back whole. Any other unknown field is a fault.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from pydantic.alias_generators import to_camel

from service.customer import ADDRESSES_MAX, TAGS_MAX, CreateCustomer, UpdateAddress, UpdateCustomer
from service.events import Address, CustomerChanges
from service.http.fields import (
    City,
    Country,
    Email,
    Label,
    Line,
    Metadata,
    Name,
    Phone,
    PostalCode,
    State,
    Tag,
    counted_first,
)
from service.identifiers import AddressId, CustomerId, new_address_id

Ignored: TypeAlias = Annotated[
    object, Field(default=None, description="Decided by the service; ignored here.")
]
CUSTOMER_EXAMPLE: dict[str, JsonValue] = {
    "email": "jane@example.com",
    "firstName": "Jane",
    "lastName": "Doe",
    "phone": "+1-555-0123",
    "tags": ["referral"],
    "metadata": {"source": "partner-campaign"},
}
CUSTOMER_PATCH_EXAMPLE: dict[str, JsonValue] = {
    "firstName": "Janet",
    "tags": ["vip", "referral"],
    "metadata": {"segment": "vip", "source": "partner-campaign"},
}
ADDRESS_EXAMPLE: dict[str, JsonValue] = {
    "label": "Office",
    "line1": "789 Business Blvd",
    "city": "San Francisco",
    "state": "CA",
    "postalCode": "94102",
    "country": "US",
}
ADDRESS_PATCH_EXAMPLE: dict[str, JsonValue] = {"label": "Headquarters", "isDefault": True}
TAGS_EXAMPLE: dict[str, JsonValue] = {"tags": ["wholesale", "vip"]}

Tags: TypeAlias = Annotated[tuple[Tag, ...], Field(max_length=TAGS_MAX), counted_first(TAGS_MAX)]


class Body(BaseModel):
    """camelCase outside; strict: a number is not a string, and a string is not a number."""

    # Only ever built from JSON, by alias.
    model_config = ConfigDict(  # type: ignore[pydantic-alias]
        strict=True, extra="forbid", frozen=True, alias_generator=to_camel
    )


class AddressBody(Body):
    """An address to add. The first of a customer becomes the default in any case."""

    model_config = ConfigDict(json_schema_extra={"examples": [ADDRESS_EXAMPLE]})

    label: Label | None = None
    line1: Line
    city: City
    state: State | None = None
    postal_code: PostalCode | None = None
    country: Country = Field(description="ISO 3166-1 alpha-2; kept in upper case.")
    is_default: bool = False
    id: Ignored

    def address(self) -> Address:
        """Under an id made now."""
        return Address.model_construct(
            id=new_address_id(),
            label=self.label or None,
            line1=self.line1,
            city=self.city,
            state=self.state or None,
            postal_code=self.postal_code or None,
            country=self.country,
            is_default=self.is_default,
        )


class AddressPatch(Body):
    """New values for an address: absent = unchanged, null clears."""

    model_config = ConfigDict(json_schema_extra={"examples": [ADDRESS_PATCH_EXAMPLE]})

    label: Label | None = None
    line1: Line = ""
    city: City = ""
    state: State | None = None
    postal_code: PostalCode | None = None
    country: Country = ""
    is_default: bool = False
    id: Ignored

    def command(self, address_id: AddressId) -> UpdateAddress:
        given = self.model_fields_set - {"id"}
        changes = {name: _given(getattr(self, name)) for name in sorted(given)}
        return UpdateAddress(address_id, changes)


class HeldAddress(Body):
    """An address as this API answered it. It is only compared, so any text will do."""

    id: str = ""
    label: str | None = None
    line1: str = ""
    city: str = ""
    state: str | None = None
    postal_code: str | None = None
    country: str = ""
    is_default: bool = False

    def address(self) -> Address:
        return Address.model_construct(**self.__dict__)


NewAddresses: TypeAlias = Annotated[
    tuple[AddressBody, ...], Field(max_length=ADDRESSES_MAX), counted_first(ADDRESSES_MAX)
]
# No customer has more, so more cannot be what they are already.
HeldAddresses: TypeAlias = Annotated[
    tuple[HeldAddress, ...],
    counted_first(
        ADDRESSES_MAX,
        "use_address_endpoints",
        "Addresses are changed through the customer's address endpoints; leave them as they are.",
    ),
]


class _ReadOnly(Body):
    """What an answered customer holds besides what callers decide."""

    id: Ignored
    order_count: Ignored
    total_spent: Ignored
    spent_by_currency: Ignored
    last_order_at: Ignored
    created_at: Ignored
    updated_at: Ignored
    version: Ignored
    stale: Ignored


class CustomerBody(_ReadOnly):
    """A new customer. Only `email` is required."""

    model_config = ConfigDict(json_schema_extra={"examples": [CUSTOMER_EXAMPLE]})

    email: Email = Field(description="Kept in lower case; unique among living customers.")
    first_name: Name | None = None
    last_name: Name | None = None
    phone: Phone | None = Field(default=None, description="Kept as typed.")
    tags: Tags | None = None
    metadata: Metadata | None = None
    addresses: NewAddresses | None = None
    active: bool = True

    def command(self, customer_id: CustomerId) -> CreateCustomer:
        return CreateCustomer(
            id=customer_id,
            email=self.email,
            first_name=self.first_name or None,
            last_name=self.last_name or None,
            phone=self.phone or None,
            tags=self.tags or (),
            metadata=self.metadata or {},
            addresses=tuple([body.address() for body in self.addresses or ()]),
            is_active=self.active,
        )


class CustomerPatch(_ReadOnly):
    """A JSON Merge Patch: absent = unchanged, null clears, `tags` replaces, `metadata` merges."""

    model_config = ConfigDict(json_schema_extra={"examples": [CUSTOMER_PATCH_EXAMPLE]})

    email: Email = ""
    first_name: Name | None = None
    last_name: Name | None = None
    phone: Phone | None = None
    tags: Tags | None = None
    metadata: Metadata | None = Field(
        default=None, description="Merged by key; a null value removes its key, null removes all."
    )
    addresses: HeldAddresses | None = Field(
        default=None, description="Must be what they are already: use the address routes."
    )
    active: bool = Field(default=True, description="false deactivates, true reactivates.")

    def command(self) -> UpdateCustomer:
        given = self.model_fields_set
        changed = {name: getattr(self, name) or None for name in given & _OWN_FIELDS}
        addresses = tuple(held.address() for held in self.addresses or ())
        return UpdateCustomer(
            changes=CustomerChanges.model_validate(changed),
            metadata=self.metadata,
            clear_metadata="metadata" in given and self.metadata is None,
            tags=(self.tags or ()) if "tags" in given else None,
            is_active=self.active if "active" in given else None,
            addresses=addresses if "addresses" in given else None,
        )


class TagsBody(Body):
    """Tags, compared case-insensitively; the spelling that came first is kept."""

    model_config = ConfigDict(json_schema_extra={"examples": [TAGS_EXAMPLE]})

    tags: Tags


_OWN_FIELDS = frozenset({"email", "first_name", "last_name", "phone"})


def _given(value: str | bool | None) -> str | bool | None:
    """Text that is empty says nothing, so it is kept as null."""
    return None if value == "" else value
