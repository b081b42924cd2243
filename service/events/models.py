"""What can have happened to a customer.

Invariant: an event model is never changed in place. A new shape is a new `schema_version` with an
upcaster for the old one, so every event ever written can be read for ever. Stored names are the
constants here, never class paths. Fields that tell about a person carry `PERSONAL`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, ClassVar, Literal, NamedTuple, NewType, TypeAlias, get_args
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from service.identifiers import AddressId, CustomerId, EventId, event_id

Version = NewType("Version", int)
"""A place in one customer's stream: 1, 2, 3 … without gaps. 0 stands for "no stream yet"."""

NO_VERSION = Version(0)

Position = NewType("Position", int)
"""A place in the whole log: 1, 2, 3 … without gaps, visible in that order. 0: before the first."""

MetadataValue: TypeAlias = str | int | float | bool | None
OrderStatus: TypeAlias = Literal["pending", "placed", "paid", "completed", "cancelled", "failed"]


@dataclass(frozen=True, slots=True)
class Personal:
    """Marks a field that tells about a person; it must become unreadable when they are erased."""


PERSONAL = Personal()

_MARK = Field(json_schema_extra={"x-personal": True})
_AS_TYPED = Field(description="As typed; null = not given.")
PersonalText: TypeAlias = Annotated[str, PERSONAL, _MARK]
TypedText: TypeAlias = Annotated[str | None, PERSONAL, _MARK, _AS_TYPED]
PersonalMetadata: TypeAlias = Annotated[dict[str, MetadataValue], PERSONAL, _MARK]


class _Shape(BaseModel):
    """camelCase outside, snake_case inside; frozen; closed; fields' docstrings are published."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        use_attribute_docstrings=True,
    )


class Address(_Shape):
    """A postal address as stored and shown."""

    id: AddressId
    """Opaque; sorts by the time it was made."""
    label: TypedText = None
    line1: PersonalText
    """Street and number."""
    city: PersonalText
    """Town."""
    state: TypedText = None
    postal_code: TypedText = None
    country: str
    """ISO 3166-1 alpha-2, upper case."""
    is_default: bool
    """Exactly one of a customer's addresses is the default."""


class Order(_Shape):
    """One order as it stands at `order_version`."""

    order_id: str
    """Unique per tenant."""
    order_version: int
    """Rises with every change of the order; starts at 1 or later."""
    status: OrderStatus
    """Where the order stands; placed, paid and completed ones count."""
    currency: str
    """ISO 4217; the amounts are in its minor units."""
    total: int
    """What was ordered for."""
    captured: int | None = None
    """What was paid so far; null = the payment provider does not say."""
    refunded: int | None = None
    """What was paid back so far; null = the payment provider does not say."""
    placed_at: AwareDatetime
    """When the order was placed."""
    test: bool = False
    """A test order counts nowhere."""


class CustomerChanges(_Shape):
    """New values by field. Absent = unchanged, null = cleared; `metadata` is the whole new map."""

    email: PersonalText = ""
    """Lower-cased whole; unique per tenant among living customers."""
    first_name: TypedText = None
    last_name: TypedText = None
    phone: TypedText = None
    metadata: PersonalMetadata = Field(default_factory=dict)
    """The caller's own keys; the whole new map."""


class CustomerCreated(_Shape):
    """The first event of every stream."""

    type: ClassVar[str] = "customer.created"
    schema_version: ClassVar[int] = 1
    email: PersonalText
    """Lower-cased whole; unique per tenant among living customers."""
    first_name: TypedText = None
    last_name: TypedText = None
    phone: TypedText = None
    tags: tuple[str, ...] = ()
    """In the order given; they differ in more than case."""
    metadata: PersonalMetadata = Field(default_factory=dict)
    """The caller's own keys."""
    addresses: tuple[Address, ...] = ()
    """In the order given; exactly one is the default, if there are any."""
    active: bool = True
    """False = made, but not active."""


class CustomerUpdated(_Shape):
    """Some of the customer's own fields took new values."""

    type: ClassVar[str] = "customer.updated"
    schema_version: ClassVar[int] = 1
    changes: CustomerChanges
    """At least one field."""


class CustomerTagged(_Shape):
    """Tags were added."""

    type: ClassVar[str] = "customer.tagged"
    schema_version: ClassVar[int] = 1
    tags: tuple[str, ...]
    """Only the new ones, in the spelling that is kept."""


class CustomerUntagged(_Shape):
    """Tags were removed."""

    type: ClassVar[str] = "customer.untagged"
    schema_version: ClassVar[int] = 1
    tags: tuple[str, ...]
    """In the spelling that was kept."""


class AddressAdded(_Shape):
    """An address joined; a default one takes the mark from the one before."""

    type: ClassVar[str] = "customer.address_added"
    schema_version: ClassVar[int] = 1
    address: Address
    """The new address, whole."""


class AddressUpdated(_Shape):
    """An address was replaced as a whole; a default one takes the mark from the one before."""

    type: ClassVar[str] = "customer.address_updated"
    schema_version: ClassVar[int] = 1
    address: Address
    """The address as it is now, whole."""


class AddressRemoved(_Shape):
    """An address left."""

    type: ClassVar[str] = "customer.address_removed"
    schema_version: ClassVar[int] = 1
    address_id: AddressId
    """The one that left."""
    new_default_address_id: AddressId | None = None
    """Where the default left: the oldest of the rest, which is the default now."""


class CustomerDeactivated(_Shape):
    """Still readable, listed and counted, but not active."""

    type: ClassVar[str] = "customer.deactivated"
    schema_version: ClassVar[int] = 1


class CustomerReactivated(_Shape):
    """Active again."""

    type: ClassVar[str] = "customer.reactivated"
    schema_version: ClassVar[int] = 1


class CustomerDeleted(_Shape):
    """The customer is gone for good. Only orders may follow it in the stream."""

    type: ClassVar[str] = "customer.deleted"
    schema_version: ClassVar[int] = 1


class OrderRecorded(_Shape):
    """A later version of an order was accepted."""

    type: ClassVar[str] = "customer.order_recorded"
    schema_version: ClassVar[int] = 1
    order: Order
    """Whole; it takes the place of what was known of this order."""


Event: TypeAlias = (
    CustomerCreated
    | CustomerUpdated
    | CustomerTagged
    | CustomerUntagged
    | AddressAdded
    | AddressUpdated
    | AddressRemoved
    | CustomerDeactivated
    | CustomerReactivated
    | CustomerDeleted
    | OrderRecorded
)

EVENT_TYPES: tuple[type[Event], ...] = get_args(Event)


class Actor(_Shape):
    """Who asked."""

    type: str
    """By what it is known: `token`, `jwt` or `system`."""
    id: str
    """Opaque."""
    name: str | None = None
    """The token's name, given by an operator: a system's, not a person's."""


class Meta(_Shape):
    """What is known about the request behind an event; no personal data."""

    actor: Actor
    request_id: str
    traceparent: str | None = None  # W3C Trace Context; continues into Kafka


class RecordedEvent(NamedTuple):
    """An event with its place: the same for every reader, for ever."""

    position: Position
    key: bytes  # of the UUID under which it is stored
    tenant: str
    customer_id: CustomerId
    version: Version
    time: datetime  # UTC in whole milliseconds; never goes back as positions rise
    event: Event
    meta: Meta
    is_forgotten: bool = False  # its customer was deleted: personal fields are blank

    @property
    def id(self) -> EventId:
        """As shown; most readers never ask."""
        return event_id(UUID(bytes=self.key))
