"""The reading side of the log, and the words in which it is spoken of.

Invariants: positions are contiguous and become visible in order, so `position > last` loses nothing
and a reader can prove by arithmetic that it has seen everything. What is archived is never passed
over: whoever asks for it gets EventsArchived, or a snapshot in its place. Appending is in
`appender.py`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from datetime import datetime

from service.errors import Corrupt, EventsArchived, NotFound
from service.event_log.columns import (
    SnapshotRow,
    StreamAndKey,
    StreamRow,
    as_id,
    as_time,
    has_gap,
    known_answer,
    stream_row,
)
from service.event_log.stored import NO_DATA, Page, Row, RowOpener, StoredEvent
from service.event_log.words import Append, Appended, Head, Key, Replayed, StreamHead
from service.events import NO_VERSION, Position, RecordedEvent, Version
from service.identifiers import CustomerId, EventId
from service.postgres import Reader, load_statements
from service.snapshots import Snapshot
from service.vault import Vault

__all__ = [
    "CHANNEL",
    "NO_DATA",
    "SQL",
    "Append",
    "Appended",
    "EventLog",
    "Head",
    "Key",
    "Page",
    "Replayed",
    "Row",
    "RowOpener",
    "StoredEvent",
    "StreamHead",
]

CHANNEL = "customers_log"  # of the NOTIFY that the log has grown
PAGE_EVENTS_MAX = 1_000
PAGE_BYTES_MAX = 4 * 1024 * 1024  # of JSON; 2,000 events of a usual size are half of it
TENANT_PAGE_BYTES_MAX = 512 * 1024  # what a process opens before others get their turn
STREAM_PAGE_EVENTS_MAX = 100  # 23 MB if each is as large as a body allows

SQL = load_statements("service", "event_log.sql")


class EventLog:
    """Reads the log. Cheap to build; holds nothing.

    `vault` opens what is sealed; whoever only asks where the log stands needs none.
    """

    def __init__(self, reader: Reader, vault: Vault | None = None) -> None:
        self._reader = reader
        self._vault = vault

    async def head(self) -> Head:
        for head in await self._reader.fetch(Head, SQL["head"]):
            return head
        raise Corrupt("the log has no head")

    async def archived_to(self) -> Position:
        """The last position that is archived; 0 = none is."""
        for position in await self._reader.fetch(Position, SQL["archived_to"]):
            return position
        raise Corrupt("the database did not say what is archived")

    async def require(self, after: int) -> None:
        """Raises EventsArchived where what comes after a position is."""
        last = await self.archived_to()
        if last > after:
            raise EventsArchived(last)

    async def page(
        self, after: Position, *, limit: int = PAGE_EVENTS_MAX, until: Position | None = None
    ) -> Page:
        """Up to `limit` events with `after < position <= until`, all tenants; fewer where they
        would be more than PAGE_BYTES_MAX, but one where there is any.

        An event whose key, or what is sealed under it, is lost or damaged `is_damaged`: it stops
        whoever needs it, and nobody else. Raises EventsArchived where the first of them is;
        Unavailable where our master key is outdated.
        """
        last = after + limit if until is None else min(until, after + limit)
        log_end, events = await self._read("read_log", after, last, PAGE_BYTES_MAX)
        if after < min(log_end, last) and (not events or events[0].position != after + 1):
            await self.require(after)
            # What was not there is back by now; else the log has a hole, which readers find out.
            log_end, events = await self._read("read_log", after, last, PAGE_BYTES_MAX)
        return Page(events, goes_on=bool(events) and events[-1].position < log_end)

    async def _read(self, statement: str, *arguments: object) -> tuple[int, list[StoredEvent]]:
        """What stands before every row, and the events."""
        opener = RowOpener(self._vault, bears_damage=True)
        read = await self._reader.fetch(opener.in_log, SQL[statement], *arguments)
        return read[0][0], [event for _, event in read if event is not None]

    async def of_tenant(
        self, tenant: str, types: Sequence[str] | None, after: int, until: int, *, limit: int
    ) -> Page:
        """The same of one tenant, in TENANT_PAGE_BYTES_MAX; `types`, where given, are the only
        ones, as stored or as published. Invariant: a page that goes on has events. Raises as
        `page` does."""
        asked = (after, until, TENANT_PAGE_BYTES_MAX, tenant, types, limit)
        opener = RowOpener(self._vault, bears_damage=True)
        read = await self._reader.fetch(opener.of_tenant, SQL["read_tenant"], *asked)
        archived_to, last_found, _ = read[0]
        if archived_to > after:
            raise EventsArchived(archived_to)
        events = [event for *_, event in read if event is not None]
        return Page(events, goes_on=bool(events) and events[-1].position < last_found)

    async def ids(self, positions: Collection[Position]) -> Mapping[Position, EventId]:
        """Of the events at these positions; left out where there is none yet."""
        return dict(await self._reader.fetch(as_id, SQL["ids"], positions))

    async def last_older_than(self, seconds: float) -> Position:
        """The last event that was recorded so long ago; 0 = none."""
        (position,) = await self.last_older_than_each([seconds])
        return position

    async def last_older_than_each(self, ages: Sequence[float]) -> list[Position]:
        """The same for each of several ages, in seconds, by one statement."""
        return await self._reader.fetch(Position, SQL["last_older_than"], list(ages))

    async def time_after(self, position: Position) -> datetime | None:
        """When the event after this position was recorded; None where there is none yet."""
        for time in await self._reader.fetch(as_time, SQL["time_after"], position):
            return time
        return None

    async def stream(
        self, tenant: str, customer_id: CustomerId, *, after: Version = NO_VERSION
    ) -> AsyncIterator[RecordedEvent]:
        """One customer's events in order; none where the tenant has no such customer.

        Raises EventsArchived where the next of them is.
        """
        opener = RowOpener(self._vault)
        while True:
            page = await self._stream_page(tenant, customer_id, after)
            if has_gap(page, after):
                raise EventsArchived(page[0].archived_to)
            for row in page:
                if row.event is not None:
                    yield opener.opened(row.event).decoded()
                    after = Version(row.event.version)
            if len(page) < STREAM_PAGE_EVENTS_MAX or page[-1].event is None:
                return

    async def folding(
        self, tenant: str, customer_id: CustomerId, *, after: Version = NO_VERSION
    ) -> AsyncIterator[Snapshot | RecordedEvent]:
        """The same for whoever wants the state, not each event: what is archived is skipped by a
        snapshot, which takes the place of all before it.

        Raises NotFound `customer_deleted` where there is none because the customer was deleted.
        """
        opener = RowOpener(self._vault)
        while True:
            page = await self._stream_page(tenant, customer_id, after)
            if has_gap(page, after):
                snapshot = await self._snapshot(tenant, customer_id, after)
                if snapshot is not None:
                    yield snapshot
                    after = snapshot.version
                continue
            for row in page:
                if row.event is not None:
                    yield opener.opened(row.event).decoded()
                    after = Version(row.event.version)
            if len(page) < STREAM_PAGE_EVENTS_MAX or page[-1].event is None:
                return

    async def _stream_page(
        self, tenant: str, customer_id: CustomerId, after: Version
    ) -> list[StreamRow]:
        asked = tenant, customer_id, after, STREAM_PAGE_EVENTS_MAX
        return await self._reader.fetch(stream_row, SQL["read_stream"], *asked)

    async def _snapshot(
        self, tenant: str, customer_id: CustomerId, after: Version
    ) -> Snapshot | None:
        """The latest one, which is newer than a version whose successor is archived; None where
        that came back meanwhile."""
        asked = tenant, customer_id, after
        for row in await self._reader.fetch(SnapshotRow, SQL["read_snapshot"], *asked):
            if not row.is_destroyed:
                return self._opened_snapshot(row)
        page = await self._stream_page(tenant, customer_id, after)
        if not has_gap(page, after):
            return None
        if page[0].is_closed:
            raise NotFound("customer_deleted")
        raise EventsArchived(page[0].archived_to)

    def _opened_snapshot(self, row: SnapshotRow) -> Snapshot:
        sealed = row.version, row.schema_version, row.sealed, row.wrapped
        return Snapshot(
            CustomerId(row.customer_id),
            row.tenant,
            Version(row.version),
            Position(row.position),
            row.time,
            RowOpener(self._vault).state(row.customer_id, *sealed),
        )

    async def require_beginning(self, tenant: str, customer_id: CustomerId) -> None:
        """Raises EventsArchived where a customer's first event is."""
        asked = tenant, customer_id
        if await self._reader.fetch(bool, SQL["is_beginning_archived"], *asked) == [True]:
            raise EventsArchived(await self.archived_to())

    async def of_customers(
        self,
        after: tuple[str, int],
        last_customer_id: str,
        *,
        limit: int,
        without_archived: bool = False,
    ) -> list[StoredEvent]:
        """Events of all customers up to one, by customer and version, after (customer, version);
        without their `meta`.

        Raises EventsArchived where any is, unless they may be missing.
        """
        asked = *after, last_customer_id, limit
        archived_to, events = await self._read("read_customers", *asked)
        if archived_to and not without_archived:
            raise EventsArchived(archived_to)
        return events

    async def of_customer(self, customer_id: str, after: int, *, limit: int) -> list[StoredEvent]:
        """The same of one, after a version. Raises EventsArchived where the next one is."""
        asked = customer_id, after, customer_id, limit
        archived_to, events = await self._read("read_customers", *asked)
        if archived_to and events and events[0].version != after + 1:
            raise EventsArchived(archived_to)
        return events

    async def stream_and_key(
        self, tenant: str, customer_id: CustomerId, key: str | None
    ) -> tuple[StreamHead | None, tuple[bytes, Replayed] | None]:
        """Where a stream stands, and the fingerprint and answer known under an idempotency key."""
        rows = await self._reader.fetch(
            StreamAndKey, SQL["stream_and_key"], tenant, customer_id, key
        )
        row = rows[0]
        head = None
        if row.version is not None and row.position is not None and row.is_closed is not None:
            head = StreamHead(Version(row.version), Position(row.position), row.is_closed)
        return head, known_answer(row)
