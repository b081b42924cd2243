"""All that is held about one customer, as one JSON document of one moment, in pieces.

Invariants: it shows the customer, its history and its orders up to the version that the customer
had when the export began; and it is finished only if the customer lives at the end, too. The state
and one line for each order are in memory, about 1 kB for each order; the history is not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import NamedTuple

from service.documents import timestamp_text
from service.errors import Unavailable
from service.event_log import EventLog
from service.events import OrderRecorded, Position, Version
from service.identifiers import CustomerId
from service.queries.customer_orders import order_item, order_place
from service.queries.customer_query import CustomerQuery, Found
from service.queries.history import tell

EXPORTS_AT_ONCE_MAX = 4
EXPORTS_PER_TENANT_MAX = 3  # whoever reads slowly leaves something to others
CHUNK_BYTES = 64 * 1024  # more is sent at once only where one event is larger

_HEAD = b'{"exportedAt":"%b","asOfPosition":%d,"customer":%b,"events":['
_BETWEEN = b'],"orders":['
_END = b"]}"


class Export(NamedTuple):
    """`chunks` may raise when the beginning is long sent: the rest must not look finished then."""

    chunks: AsyncGenerator[bytes, None]
    version: Version
    position: Position


class Exports:
    """Invariant: no more than EXPORTS_AT_ONCE_MAX are being made, and EXPORTS_PER_TENANT_MAX."""

    def __init__(self, customers: CustomerQuery, event_log: EventLog) -> None:
        self._customers = customers
        self._event_log = event_log
        self._running: Counter[str] = Counter()  # by tenant

    @asynccontextmanager
    async def begin(
        self, tenant: str, customer_id: CustomerId, currency: str, now: datetime
    ) -> AsyncIterator[Export]:
        """Read the chunks inside the block. Raises NotFound, EventsArchived where the beginning of
        the history is, Unavailable, of which `overloaded`."""
        is_full = self._running.total() >= EXPORTS_AT_ONCE_MAX
        if is_full or self._running[tenant] >= EXPORTS_PER_TENANT_MAX:
            raise Unavailable("overloaded", "Too many exports are being made.")
        self._running[tenant] += 1
        try:
            found = await self._customers.get(tenant, customer_id, currency)
            await self._event_log.require_beginning(tenant, customer_id)
            pieces = self._pieces(tenant, customer_id, currency, now, found)
            yield Export(_joined(pieces), found.version, found.position)
        finally:
            self._running -= Counter({tenant: 1})  # and who has none is forgotten

    async def _pieces(
        self, tenant: str, customer_id: CustomerId, currency: str, now: datetime, found: Found
    ) -> AsyncIterator[bytes]:
        yield _HEAD % (timestamp_text(now).encode(), found.position, found.document)
        orders: dict[str, tuple[tuple[datetime, str], bytes]] = {}
        comma = b""
        stream = self._event_log.stream(tenant, customer_id)
        async for told in tell(stream, currency, until=found.version):
            yield comma + told.text
            comma = b","
            event = told.recorded.event
            if isinstance(event, OrderRecorded):
                item = order_item(event.order).json_bytes()
                orders[event.order.order_id] = (order_place(event.order), item)
        await self._customers.living(tenant, customer_id)  # a deletion blanks what is read
        yield _BETWEEN
        comma = b""
        for _, item in sorted(orders.values(), reverse=True):
            yield comma + item
            comma = b","
        yield _END


async def _joined(pieces: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """The same bytes, in fewer and larger pieces."""
    waiting: list[bytes] = []
    size = 0
    async for piece in pieces:
        waiting.append(piece)
        size += len(piece)
        if size >= CHUNK_BYTES:
            yield b"".join(waiting)
            waiting, size = [], 0
    yield b"".join(waiting)
