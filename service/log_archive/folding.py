"""The states of customers at the end of a partition, from which their streams go on without it.

Invariants: a state is the fold of the whole stream up to there, for it begins with the state at
the end of the partition before; everybody who lives and has events in the partition has one before
it is taken away. It is sealed under the customer's own key, so it goes with the customer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import NamedTuple

from service.customer import Customer, evolve, snapshot_state
from service.errors import Corrupt
from service.event_log import Row, RowOpener
from service.events import Order, OrderRecorded, Position, RecordedEvent, Version
from service.findings import Progress
from service.identifiers import CustomerId
from service.log_archive.upkeep import SQL, Partition
from service.postgres import Postgres
from service.snapshots import (
    SNAPSHOT_SCHEMA,
    SNAPSHOT_TYPE,
    Snapshot,
    encode_state,
)
from service.vault import CustomerKey, Vault, place

PAGE_EVENTS = 500  # read at once; 128 MB where each is as large as a body allows
UNREADABLE_NAMED_MAX = 10


class _Event(NamedTuple):
    is_closed: bool
    row: Row


class _Kept(NamedTuple):
    """A row of log.snapshot."""

    customer_id: str
    tenant: str
    version: int
    position: int
    time: datetime
    schema_version: int
    sealed: bytes


async def make_snapshots(
    postgres: Postgres, vault: Vault, partition: Partition, told: Progress
) -> None:
    """Raises Corrupt where somebody who lives cannot be read; Unavailable."""
    folding = _Folding(postgres, RowOpener(vault))
    told.begin("snapshots", partition.last - partition.first + 1)
    after, version = "", 0
    while page := await postgres.fetch(
        _event, SQL["partition_events"], after, version, partition.last, PAGE_EVENTS
    ):
        await folding.take(page)
        after, version = page[-1].row.customer_id, page[-1].row.version
        told.advance(len(page))
    await folding.end()
    # A deletion under way has perhaps looked for states already, and its key's end is not seen yet.
    await postgres.execute(SQL["await_deletions"])
    await postgres.execute(SQL["drop_forgotten"], partition.first)
    missing = await postgres.fetch_one(int, SQL["missing_snapshots"], partition.last)
    if folding.unreadable or missing:
        raise Corrupt(_why(folding.unreadable, missing or 0))


def _why(unreadable: Sequence[str], missing: int) -> str:
    if not unreadable:
        return f"{missing:,} customers have no state to go on from"
    named = ", ".join(unreadable[:UNREADABLE_NAMED_MAX])
    return (
        f"{len(unreadable):,} customers who cannot be read have no state to go on from: {named}."
        " `customers verify --only log` says more; put back their events or keys from a backup"
    )


class _Folding:
    """Fed with pages of events by customer and version."""

    def __init__(self, postgres: Postgres, opener: RowOpener) -> None:
        self._postgres = postgres
        self._opener = opener
        self._open: _Fold | None = None
        self._done: list[_Kept] = []
        self.unreadable: list[str] = []

    async def take(self, page: Sequence[_Event]) -> None:
        starts = await self._starts(page)
        for customer_id, events in groupby(page, lambda each: each.row.customer_id):
            if self._open is None or self._open.customer_id != customer_id:
                self._close()
                self._open = _Fold(self._opener, customer_id, starts.get(customer_id))
            for event in events:
                self._open.take(event)
        await self._write()

    async def end(self) -> None:
        self._close()
        await self._write()

    def _close(self) -> None:
        if self._open is None:
            return
        if self._open.is_unreadable:
            self.unreadable.append(self._open.customer_id)
        elif (kept := self._open.kept()) is not None:
            self._done.append(kept)

    async def _write(self) -> None:
        if self._done:
            who, tenant, version, position, time, _, sealed = map(
                list, zip(*self._done, strict=True)
            )
            columns = who, tenant, version, position, time, SNAPSHOT_SCHEMA, sealed
            await self._postgres.execute(SQL["keep_snapshots"], *columns)
            self._done.clear()

    async def _starts(self, page: Sequence[_Event]) -> Mapping[str, _Kept]:
        """The states at the end of the partition before, of those whose streams began there."""
        firsts: dict[str, int] = {}
        for _, row in page:
            firsts.setdefault(row.customer_id, row.version)
        if self._open is not None:
            firsts.pop(self._open.customer_id, None)
        earlier = {who: version - 1 for who, version in firsts.items() if version > 1}
        if not earlier:
            return {}
        asked = list(earlier), list(earlier.values())
        kept = await self._postgres.fetch(_Kept, SQL["earlier_snapshots"], *asked)
        return {each.customer_id: each for each in kept}


class _Fold:
    """One customer's."""

    def __init__(self, opener: RowOpener, customer_id: str, start: _Kept | None) -> None:
        self._opener = opener
        self.customer_id = customer_id
        self._start = start
        self._customer: Customer | None = None
        self._orders: dict[str, Order] = {}
        self._last: RecordedEvent | None = None
        self._key: CustomerKey | None = None
        self._is_left_out = False  # deleted, now or while this goes on
        self.is_unreadable = False

    def take(self, event: _Event) -> None:
        self._is_left_out = self._is_left_out or event.is_closed or bool(event.row.is_destroyed)
        if self._is_left_out or self.is_unreadable:
            return
        try:
            self._fold(event.row)
        except Corrupt:
            self.is_unreadable = True

    def _fold(self, row: Row) -> None:
        if self._key is None:
            self._key = self._opener.key(row.customer_id, row.wrapped)
            self._begin(row.wrapped)
        event = self._opener.opened(row).decoded()
        if event.version != (self._customer.version + 1 if self._customer else 1):
            raise Corrupt(f"the stream of {row.customer_id} has a hole before {event.version}")
        self._customer, self._last = evolve(self._customer, event), event
        if isinstance(event.event, OrderRecorded):
            self._orders[event.event.order.order_id] = event.event.order

    def _begin(self, wrapped: bytes | None) -> None:
        if self._start is None:
            return
        who, tenant, version, position, time, schema, sealed = self._start
        state = self._opener.state(who, version, schema, sealed, wrapped)
        self._orders = {order.order_id: order for order in state.orders}
        self._customer = evolve(
            None,
            Snapshot(CustomerId(who), tenant, Version(version), Position(position), time, state),
        )

    def kept(self) -> _Kept | None:
        """None of who was deleted."""
        customer, last = self._customer, self._last
        if self._is_left_out or customer is None or last is None or self._key is None:
            return None
        where = place(self.customer_id, SNAPSHOT_TYPE, SNAPSHOT_SCHEMA, last.version)
        data = encode_state(snapshot_state(customer, self._orders.values()))
        return _Kept(
            *(self.customer_id, last.tenant, last.version, last.position, last.time),
            *(SNAPSHOT_SCHEMA, self._key.seal(data, where)),
        )


def _event(is_closed: bool, *columns: object) -> _Event:
    return _Event(is_closed, Row._make(columns))
