"""The bodies of answers that are not a domain document of their own; they only document.

Invariant: the queries build the JSON of lists, histories and exports themselves.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from pydantic.config import JsonDict

from service.documents import CustomerDocument, CustomerItem, OrderItem, Timestamp
from service.events import Actor


class CustomerList(BaseModel):
    """One page of the customer list."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True)

    count: int = Field(description="How many customers match in all, exactly.")
    page: int = Field(description="Which page this is, also where a cursor led to it.")
    display: int = Field(description="Customers on a page, as asked for.")
    next_cursor: str | None = Field(description="For the next page; null on the last one.")
    models: tuple[CustomerItem, ...] = Field(description="The page, in the order asked for.")


class OrderList(BaseModel):
    """One page of a customer's orders."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True)

    count: int = Field(description="How many orders the customer has in all.")
    next_cursor: str | None = Field(description="For the next page; null on the last one.")
    models: tuple[OrderItem, ...] = Field(description="The page, the latest order first.")


class FieldChange(BaseModel):
    """What a field of the customer was before an event, and after it."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True)

    old: object = Field(alias="from", description="Null where there was nothing.")
    new: object = Field(alias="to", description="Null where nothing is left.")


class EventItem(BaseModel):
    """One event of a customer's history."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True)

    id: str = Field(description="Opaque.")
    position: int = Field(description="Its place in the log of all customers.")
    version: int = Field(description="The customer's version that it made.")
    type: str = Field(description="The name of the schema of `data`, under `/schemas/`.")
    time: Timestamp = Field(description="When it happened.")
    actor: Actor = Field(description="Who asked for it.")
    request_id: str = Field(description="The `X-Request-Id` of that request.")
    data: dict[str, object] = Field(description="As published, by `type`.")
    changes: dict[str, FieldChange] = Field(
        description="By field of the customer, roll-ups included: what it changed. `version` and "
        "`updatedAt`, which every event changes, are left out."
    )


def _may_begin_later(schema: JsonDict) -> None:
    """What the history adds where its beginning is archived, and nowhere else."""
    properties = schema["properties"]
    assert isinstance(properties, dict)
    properties["archivedTo"] = {
        "type": "integer",
        "minimum": 1,
        "description": "Events up to this version of the customer are archived, and left out.",
    }


class EventList(BaseModel):
    """One page of a customer's history."""

    model_config = ConfigDict(
        frozen=True,
        alias_generator=to_camel,
        populate_by_name=True,
        json_schema_extra=_may_begin_later,
    )

    count: int = Field(description="How many events the customer has in all.")
    events: tuple[EventItem, ...] = Field(description="The page, the oldest event first.")
    next_cursor: str | None = Field(description="For the next page; null on the last one.")


class CustomerExport(BaseModel):
    """All that is held about a customer, as of one moment."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True)

    exported_at: Timestamp = Field(description="When the export began.")
    as_of_position: int = Field(description="The position of the last of the events.")
    customer: CustomerDocument = Field(description="The customer, whole.")
    events: tuple[EventItem, ...] = Field(description="The whole history, the oldest event first.")
    orders: tuple[OrderItem, ...] = Field(description="Every order, the latest first.")
