"""The customer as callers, subscribers and the read model see it.

Invariant: this is the only place that says how a customer looks outside. The fold of the log and
the projection both end here, so they cannot disagree about a field's name or form.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Self, TypeAlias

import orjson
from pydantic import BaseModel, ConfigDict, PlainSerializer, WithJsonSchema
from pydantic.alias_generators import to_camel
from pydantic.config import JsonDict

from service.events import (
    Address,
    OrderStatus,
    PersonalMetadata,
    PersonalText,
    TypedText,
    Version,
)
from service.identifiers import CustomerId

TIMES_REMEMBERED_MAX = 4_096  # a batch of writes shares one, and many answers show it


@lru_cache(TIMES_REMEMBERED_MAX)
def timestamp_text(time: datetime) -> str:
    """RFC 3339 in UTC with `Z`, in whole milliseconds: as stored, compared and shown."""
    utc = time if time.tzinfo is UTC else time.astimezone(UTC)
    written = orjson.dumps(utc)  # as `isoformat`, in a third of the time, and in quotes
    shown = written[1:24] if utc.microsecond else written[1:20] + b".000"
    return shown.decode() + "Z"


Timestamp: TypeAlias = Annotated[
    datetime,
    PlainSerializer(timestamp_text, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}, mode="serialization"),
]


class _Document(BaseModel):
    """A field's docstring is its description in the published schemas."""

    model_config = ConfigDict(
        frozen=True,
        alias_generator=to_camel,
        populate_by_name=True,
        use_attribute_docstrings=True,
    )

    @classmethod
    def of(cls, **values: object) -> Self:
        """From the values of all fields, by name, of the right types: nothing is checked.

        `model_construct` does the same in ten times as long: it looks for aliases and defaults.
        """
        assert len(values) == len(cls.__pydantic_fields__), "one value for each field"
        document = cls.__new__(cls)
        object.__setattr__(document, "__dict__", values)
        object.__setattr__(document, "__pydantic_fields_set__", set(values))
        object.__setattr__(document, "__pydantic_extra__", None)
        object.__setattr__(document, "__pydantic_private__", None)
        return document

    def json_bytes(self) -> bytes:
        return self.__pydantic_serializer__.to_json(self, by_alias=True)


class CustomerDocument(_Document):
    """One customer, whole."""

    id: CustomerId
    """Opaque; sorts by the time it was made."""
    email: PersonalText
    """Lower-cased whole; unique per tenant among living customers."""
    first_name: TypedText
    last_name: TypedText
    phone: TypedText
    metadata: PersonalMetadata
    """The caller's own keys."""
    addresses: tuple[Address, ...]
    """In the order in which they were added; exactly one is the default, if there are any."""
    order_count: int
    """Orders that are placed, paid or completed, test orders left out."""
    total_spent: int
    """Minor units of the tenant's currency: what was captured, or ordered, less refunds."""
    spent_by_currency: dict[str, int]
    """The same for every currency, in its minor units, by ISO 4217 code."""
    last_order_at: Timestamp | None
    """When the latest counted order was placed; null = there is none."""
    tags: tuple[str, ...]
    """Differ in more than case; in the spelling that came first."""
    active: bool
    """False = deactivated: still readable, listed and counted."""
    created_at: Timestamp
    """When the customer was made."""
    updated_at: Timestamp
    """When the latest event about the customer happened, recorded orders included."""
    version: Version
    """Counts the events about the customer, recorded orders included; the ETag."""


def _may_be_stale(schema: JsonDict) -> None:
    """Of an item's schema: what a list adds to a parked customer's, and to no other."""
    properties = schema["properties"]
    assert isinstance(properties, dict)
    properties["stale"] = {
        "type": "boolean",
        "const": True,
        "description": "There, and true, where an event of the customer could not be applied to the"
        " list: then the item is as it was before that event. Ask for the customer itself.",
    }


class CustomerItem(_Document):
    """One line of the customer list; its fields mean what they mean in `CustomerDocument`."""

    # The projection stores an item without the mark, so that parking rewrites no document.
    model_config = ConfigDict(json_schema_extra=_may_be_stale)

    id: CustomerId
    email: PersonalText
    first_name: TypedText
    last_name: TypedText
    order_count: int
    total_spent: int
    last_order_at: Timestamp | None
    tags: tuple[str, ...]
    active: bool
    created_at: Timestamp
    updated_at: Timestamp


def list_item(customer: CustomerDocument) -> CustomerItem:
    """The fields of a customer that a list shows."""
    return CustomerItem.of(**{name: getattr(customer, name) for name in CustomerItem.model_fields})


class OrderItem(_Document):
    """One order of a customer, and what it adds to the customer's count and spend."""

    order_id: str
    """The shop's own; unique per tenant."""
    order_version: int
    """Rises with every change of the order."""
    status: OrderStatus
    """Where the order stands; placed, paid and completed ones count."""
    currency: str
    """ISO 4217; the amounts are in its minor units."""
    total: int
    """What was ordered for."""
    captured: int | None
    """What was paid so far; null = the shop does not say."""
    refunded: int | None
    """What was paid back so far; null = the shop does not say."""
    placed_at: Timestamp
    """When the order was placed."""
    test: bool
    """A test order counts nowhere."""
    countable: bool
    """Whether it is one of `orderCount`."""
    contribution: int
    """What it adds to the spend in its currency."""
    reason: str
    """How the contribution comes about, in words."""
