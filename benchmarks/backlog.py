"""Work for the relay and the projections: creations, changes and orders, waiting in the log.

Invariant: creations and changes come in through the API, and orders as the order intake appends
them, so every event is what it would be in life. Orders are of customers all over the read model.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from benchmarks.processes import Service
from benchmarks.seeding import SQL, Head
from benchmarks.sizes import Sizes
from benchmarks.wrk import run_wrk, write_paths
from service.appender import Appender
from service.event_log import Append
from service.events import Order, OrderRecorded, Version
from service.identifiers import CustomerId
from service.postgres import Postgres
from tests.support.histories import META
from tests.support.logs import appending

ORDERS_AT_ONCE = 2_000
CUSTOMERS_MAX = 200_000


class _Stream(NamedTuple):
    customer_id: str
    version: int


@dataclass(frozen=True, slots=True)
class Segment:
    """Events of one kind: those after position `start`, up to `end`."""

    name: str
    start: int
    end: int

    @property
    def events(self) -> int:
        return self.end - self.start


class Backlog:
    """Appends work while nobody does it."""

    def __init__(
        self,
        service: Service,
        token: str,
        seeded_position: int,
        sizes: Sizes,
        tell: Callable[[str], None],
    ) -> None:
        self._service = service
        self._token = token
        self._seeded_position = seeded_position
        self._created_after = self._end = seeded_position
        self._sizes = sizes
        self._tell = tell
        self._orders = 0

    async def creations(self) -> Segment:
        """With those that came in since the seeding, or since the last segment."""
        async with Postgres.connect(self._service.database_url) as postgres:
            async with self._service.role("api") as api:
                await self._create(api.url)
            return await self._segment("creations", postgres)

    async def changes(self) -> Segment:
        """Changes of customers that the last segment created, then orders."""
        async with Postgres.connect(self._service.database_url) as postgres:
            async with self._service.role("api") as api:
                await self._change(api.url, postgres)
            async with appending(postgres) as appender:
                await self._order(postgres, appender)
            return await self._segment("orders and changes", postgres)

    async def _segment(self, name: str, postgres: Postgres) -> Segment:
        head = await postgres.fetch_one(Head, SQL["head"])
        assert head is not None
        self._created_after, self._end = self._end, head.position
        segment = Segment(name, self._created_after, self._end)
        self._tell(f"waiting in the log: {segment.events:,} {name}")
        return segment

    async def _create(self, url: str) -> None:
        word, seconds = f"b{secrets.token_hex(6)}", self._sizes.backlog_seconds
        await run_wrk(url, "create.lua", [word], token=self._token, seconds=seconds)

    async def _change(self, url: str, postgres: Postgres) -> None:
        ids = await postgres.fetch(str, SQL["new_ids"], self._created_after, CUSTOMERS_MAX)
        file = write_paths("changes", [f"/user/{each}" for each in ids], self._service.folder)
        word, seconds = f"c{secrets.token_hex(6)}", self._sizes.backlog_seconds / 2
        await run_wrk(url, "update.lua", [word, str(file)], token=self._token, seconds=seconds)

    async def _order(self, postgres: Postgres, appender: Appender) -> None:
        """New orders by turns with their next versions; nobody gets two of one batch."""
        streams = await postgres.fetch(
            _Stream, SQL["some_streams"], self._seeded_position, self._sizes.backlog_orders // 2
        )
        placed = 0
        while placed < self._sizes.backlog_orders:
            for first in range(0, len(streams), ORDERS_AT_ONCE):
                chunk = streams[first : first + ORDERS_AT_ONCE]
                await asyncio.gather(*(appender.append(self._an_order(each)) for each in chunk))
                placed += len(chunk)
            streams = [each._replace(version=each.version + 1) for each in streams]
            self._orders += 1

    def _an_order(self, stream: _Stream) -> Append:
        number, version = divmod(self._orders, 2)
        order = Order(
            order_id=f"ord_{stream.customer_id[5:]}_{number}",
            order_version=version + 1,
            status="paid" if version else "placed",
            currency="USD",
            total=500 + (stream.version * 7_919) % 30_000,
            placed_at=datetime(2026, 1, 1, tzinfo=UTC),
        )
        customer_id, expected = CustomerId(stream.customer_id), Version(stream.version)
        return Append("default", customer_id, expected, (OrderRecorded(order=order),), META)
