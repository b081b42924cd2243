"""A customer's events and orders as the console shows them, parsed from what the API answers.

Invariant: the console reads what any caller may read, in the same form, and nothing beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from pydantic.alias_generators import to_camel

from service.console.changes import ChangeRow, change_rows
from service.console.formats import money, reason, words
from service.documents import OrderItem
from service.events import Actor, Order
from service.order import contribution, explain

_PREFIX = "customer."


class _Read(BaseModel):
    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True)


class _Change(_Read):
    old: JsonValue = Field(alias="from")
    new: JsonValue = Field(alias="to")


class _Data(_Read):
    order: Order | None = None


class _Event(_Read):
    id: str
    position: int
    version: int
    type: str
    time: datetime
    actor: Actor
    request_id: str
    data: _Data
    changes: dict[str, _Change]


class _Events(_Read):
    count: int
    events: tuple[_Event, ...]
    archived_to: int = 0


class OrdersRead(_Read):
    """One page of orders, the latest first."""

    count: int
    models: tuple[OrderItem, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class OrderFacts:
    """An order as an event recorded it; amounts as text."""

    order_id: str
    version: int
    status: str
    total: str
    contribution: str
    reason: str


@dataclass(frozen=True, slots=True)
class EventShown:
    """One entry of a timeline."""

    id: str
    title: str
    position: int
    version: int
    time: datetime
    actor: Actor
    request_id: str
    order: OrderFacts | None
    changes: Sequence[ChangeRow]


@dataclass(frozen=True, slots=True)
class EventsRead:
    """A stretch of a timeline, the newest first; `count` is of the whole, of which so many of the
    first events may be archived."""

    count: int
    events: Sequence[EventShown]
    archived: int = 0


def read_events(body: bytes, currency: str) -> EventsRead:
    """From the JSON that the history answers."""
    found = _Events.model_validate_json(body)
    shown = [_shown(each, currency) for each in reversed(found.events)]
    return EventsRead(found.count, shown, found.archived_to)


def read_orders(body: bytes) -> OrdersRead:
    """From the JSON that the orders' route answers."""
    return OrdersRead.model_validate_json(body)


def _shown(event: _Event, currency: str) -> EventShown:
    changes = {name: (change.old, change.new) for name, change in event.changes.items()}
    return EventShown(
        id=event.id,
        title=words(event.type.removeprefix(_PREFIX).rpartition(".")[0]),
        position=event.position,
        version=event.version,
        time=event.time,
        actor=event.actor,
        request_id=event.request_id,
        order=None if event.data.order is None else _facts(event.data.order),
        changes=change_rows(changes, currency),
    )


def _facts(order: Order) -> OrderFacts:
    return OrderFacts(
        order_id=order.order_id,
        version=order.order_version,
        status=order.status,
        total=money(order.total, order.currency),
        contribution=money(contribution(order), order.currency),
        reason=reason(explain(order), order.currency),
    )
