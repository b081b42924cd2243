"""One customer's orders, the latest first, always current.

Invariant: the read model's rows are answered only where they show the stream's version; else the
log is folded. Both are looked at in one statement, so in one snapshot.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

import orjson

from service import order as orders
from service.documents import OrderItem
from service.errors import NotFound
from service.event_log import EventLog
from service.events import Order, OrderRecorded, Position, Version
from service.identifiers import CustomerId
from service.list_request import SortKey
from service.postgres import Postgres, load_statements
from service.queries.cursor import Cursors, Place
from service.queries.progress import Progress
from service.snapshots import Snapshot

# By when they were placed, then by id; cursors know times by the fields that hold them.
_SORT = (SortKey("lastOrderAt", True),)
_BINDING = "orders of a customer"

SQL = load_statements("service", "queries.sql")


class OrdersRequest(Protocol):
    """One page, checked by who builds it."""

    @property
    def display(self) -> int: ...
    @property
    def cursor(self) -> str | None: ...
    @property
    def min_position(self) -> int | None:
        """Wait, bounded, until the read model shows this position."""


class OrdersFound(NamedTuple):
    """Finished JSON, the customer's version, and the position that this is current to."""

    body: bytes
    version: Version
    position: Position


class _Row(NamedTuple):
    tenant: str
    version: int
    is_closed: bool
    position: int
    shown_version: int | None  # None: the read model does not know the customer yet
    matches: int
    order: str | None  # JSON; None: there is none on this page


class CustomerOrders:
    """Reads orders; keeps none."""

    def __init__(
        self,
        postgres: Postgres,
        event_log: EventLog,
        cursor_key: bytes,
        min_position_wait_seconds: float,
    ) -> None:
        self._postgres = postgres
        self._event_log = event_log
        self._cursors = Cursors(cursor_key)
        self._progress = Progress(postgres)
        self._min_position_wait_seconds = min_position_wait_seconds

    async def page(
        self, tenant: str, customer_id: CustomerId, request: OrdersRequest
    ) -> OrdersFound:
        """Raises NotFound, Rejected `invalid_cursor`, Unavailable, of which `projection_lag`."""
        binding = orjson.dumps([_BINDING, tenant, customer_id])
        place = None
        if request.cursor is not None:
            place = self._cursors.open(request.cursor, _SORT, binding)
        if request.min_position is not None:
            now = asyncio.get_running_loop().time()
            await self._progress.reach(request.min_position, now + self._min_position_wait_seconds)
        rows = await self._rows(tenant, customer_id, place, request.display + 1)
        first = rows[0]
        if first.shown_version == first.version:
            position, version, count = first.position, first.version, first.matches
            found = [Order.model_validate_json(row.order) for row in rows if row.order is not None]
        else:
            every, position, version = await self._fold(tenant, customer_id, first)
            count, found = len(every), _after(every, place)[: request.display + 1]
        next_cursor = None
        if len(found) > request.display:
            last = found[request.display - 1]
            ended = Place(0, last.order_id, (last.placed_at,))
            next_cursor = self._cursors.seal(ended, _SORT, binding)
        body = _body(count, found[: request.display], next_cursor)
        return OrdersFound(body, Version(version), Position(position))

    async def _rows(
        self, tenant: str, customer_id: CustomerId, place: Place | None, rows_max: int
    ) -> Sequence[_Row]:
        """One at least. Raises NotFound."""
        after = (None, None) if place is None else (place.keys[0], place.id)
        rows = await self._postgres.fetch(_Row, SQL["orders"], customer_id, *after, rows_max)
        if not rows or rows[0].tenant != tenant:
            raise NotFound("customer_not_found")
        if rows[0].is_closed:
            raise NotFound("customer_deleted")
        return rows

    async def _fold(
        self, tenant: str, customer_id: CustomerId, first: _Row
    ) -> tuple[list[Order], int, int]:
        """All orders, the latest first; position and version of what they follow from."""
        latest: dict[str, Order] = {}
        position, version = first.position, first.version
        async for event in self._event_log.folding(tenant, customer_id):
            position, version = max(position, event.position), event.version
            if isinstance(event, Snapshot):
                latest = {order.order_id: order for order in event.state.orders}
            elif isinstance(event.event, OrderRecorded):
                latest[event.event.order.order_id] = event.event.order
        return sorted(latest.values(), key=order_place, reverse=True), position, version


def order_place(order: Order) -> tuple[datetime, str]:
    """By which orders are sorted."""
    return order.placed_at, order.order_id


def _after(every: list[Order], place: Place | None) -> list[Order]:
    if place is None:
        return every
    placed_at = place.keys[0]
    assert isinstance(placed_at, datetime)
    return [order for order in every if order_place(order) < (placed_at, place.id)]


def _body(count: int, page: Sequence[Order], next_cursor: str | None) -> bytes:
    start = orjson.dumps({"count": count, "nextCursor": next_cursor})
    models = b",".join(order_item(order).json_bytes() for order in page)
    return b'%b,"models":[%b]}' % (start[:-1], models)


def order_item(order: Order) -> OrderItem:
    """How an order is shown."""
    return OrderItem(
        order_id=order.order_id,
        order_version=order.order_version,
        status=order.status,
        currency=order.currency,
        total=order.total,
        captured=order.captured,
        refunded=order.refunded,
        placed_at=order.placed_at,
        test=order.test,
        countable=orders.is_countable(order),
        contribution=orders.contribution(order),
        reason=orders.explain(order),
    )
