"""The pages about customers, as values: what a search found, and one customer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from service.console.history import EventsRead, OrdersRead
from service.documents import CustomerDocument, CustomerItem


class ShownItem(CustomerItem):
    """A line of the list. `stale`: the customer is parked, and more has happened since."""

    stale: bool = False


class _List(BaseModel):
    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True)

    count: int
    page: int
    display: int
    models: tuple[ShownItem, ...]


@dataclass(frozen=True, slots=True)
class FoundPage:
    """A page of customers. `q`: what was searched for, as typed; empty for everybody."""

    q: str
    count: int
    page: int
    models: Sequence[ShownItem]
    has_more: bool


def found_page(q: str, body: bytes) -> FoundPage:
    """From the JSON that the list answers."""
    found = _List.model_validate_json(body)
    has_more = found.page * found.display < found.count
    return FoundPage(q, found.count, found.page, found.models, has_more)


@dataclass(frozen=True, slots=True)
class CustomerPage:
    """One customer. `after`: the version before the first event of this stretch.

    `orders_cursor`: where this page of orders begins; None: with the latest.
    """

    customer: CustomerDocument
    events: EventsRead
    after: int
    orders: OrdersRead
    orders_cursor: str | None

    @property
    def last_shown(self) -> int:
        return self.events.events[0].version if self.events.events else self.after

    @property
    def newer_after(self) -> int | None:
        """Where the stretch with later events begins."""
        return self.last_shown if self.last_shown < self.events.count else None

    @property
    def older_before(self) -> int | None:
        """The version after the last event of the stretch with earlier ones."""
        return self.after + 1 if self.after else None
