"""The reading side of the log, and the words in which it is spoken of.

Invariant: positions are contiguous and become visible in order, so `position > last` loses nothing
and a reader can prove by arithmetic that it has seen everything. Appending is in `appender.py`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from service.errors import Corrupt
from service.event_log.stored import NO_DATA, Opening, Page, StoredEvent
from service.events import (
    NO_VERSION,
    Event,
    Meta,
    Position,
    RecordedEvent,
    Version,
)
from service.identifiers import CustomerId, EventId, EventKey, event_id
from service.postgres import Reader, load_statements
from service.vault import Vault

PAGE_EVENTS_MAX = 1_000
PAGE_BYTES_MAX = 4 * 1024 * 1024  # of JSON; 2,000 events of a usual size are half of it
TENANT_PAGE_BYTES_MAX = 512 * 1024  # what a process opens before others get their turn
STREAM_PAGE_EVENTS_MAX = 100  # 23 MB if each is as large as a body allows

__all__ = [
    "NO_DATA",
    "Append",
    "Appended",
    "EventLog",
    "Head",
    "Key",
    "Page",
    "Replayed",
    "StoredEvent",
    "StreamHead",
]

SQL = load_statements("service", "event_log.sql")


class Key(NamedTuple):
    """An idempotency key, or a digest of it, and what its answer will be should the append succeed.

    `fingerprint` is a digest of method, path and body; `subject` the address that is answered,
    where the answer is an address.
    """

    key: str
    fingerprint: bytes
    status: int
    subject: str | None = None


class Append(NamedTuple):
    """One command's events, and what must become true in the same commit."""

    tenant: str
    customer_id: CustomerId
    expected_version: Version  # compare-and-set; 0 = no stream yet
    events: tuple[Event, ...]
    meta: Meta
    claim_email: str | None = None
    release_email: str | None = None
    closes_stream: bool = False
    key: Key | None = None


class Appended(NamedTuple):
    """Places of the last event; of the stream's last event where there was nothing to append."""

    version: Version
    position: Position
    time: datetime
    events: tuple[RecordedEvent, ...]


class Replayed(NamedTuple):
    """The key was used before, for the same request; this is what was answered then."""

    customer_id: CustomerId
    version: Version
    position: Position
    status: int
    subject: str | None


class Head(NamedTuple):
    """How far the log goes. `epoch` is made when a log is created or restored."""

    epoch: str
    position: Position
    time: datetime


class StreamHead(NamedTuple):
    """Where a customer's stream stands."""

    version: Version
    position: Position
    is_closed: bool


class _StreamAndKey(NamedTuple):
    version: int | None
    position: int | None
    is_closed: bool | None
    fingerprint: bytes | None
    customer_id: str | None
    known_version: int | None
    known_position: int | None
    status: int | None
    subject: str | None


def _time(time: datetime) -> datetime:
    return time


def _id(position: int, key: EventKey) -> tuple[Position, EventId]:
    return Position(position), event_id(key)


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

    async def page(
        self, after: Position, *, limit: int = PAGE_EVENTS_MAX, until: Position | None = None
    ) -> Page:
        """Up to `limit` events with `after < position <= until`, all tenants; fewer where they
        would be more than PAGE_BYTES_MAX, but one where there is any.

        An event whose key, or what is sealed under it, is lost or damaged `is_damaged`: it stops
        whoever needs it, and nobody else. Raises Unavailable where our master key is outdated.
        """
        last = after + limit if until is None else min(until, after + limit)
        return await self._page("read_log", after, last, PAGE_BYTES_MAX)

    async def of_tenant(
        self, tenant: str, types: Sequence[str] | None, after: int, until: int, *, limit: int
    ) -> Page:
        """The same of one tenant, in TENANT_PAGE_BYTES_MAX; `types`, where given, are the only
        ones, as stored or as published. Invariant: a page that goes on has events."""
        asked = (after, until, TENANT_PAGE_BYTES_MAX, tenant, types, limit)
        return await self._page("read_tenant", *asked)

    async def _page(self, statement: str, *arguments: object) -> Page:
        opening = Opening(self._vault, bears_damage=True)
        read = await self._reader.fetch(opening.in_log, SQL[statement], *arguments)
        goes_on = bool(read) and read[-1][0].position < read[-1][1]
        return Page([event for event, _ in read], goes_on=goes_on)

    async def ids(self, positions: Collection[Position]) -> Mapping[Position, EventId]:
        """Of the events at these positions; left out where there is none yet."""
        return dict(await self._reader.fetch(_id, SQL["ids"], positions))

    async def last_older_than(self, seconds: float) -> Position:
        """The last event that was recorded so long ago; 0 = none."""
        (position,) = await self.last_older_than_each([seconds])
        return position

    async def last_older_than_each(self, ages: Sequence[float]) -> list[Position]:
        """The same for each of several ages, in seconds, by one statement."""
        return await self._reader.fetch(Position, SQL["last_older_than"], list(ages))

    async def time_after(self, position: Position) -> datetime | None:
        """When the event after this position was recorded; None where there is none yet."""
        for time in await self._reader.fetch(_time, SQL["time_after"], position):
            return time
        return None

    async def stream(
        self, tenant: str, customer_id: CustomerId, *, after: Version = NO_VERSION
    ) -> AsyncIterator[RecordedEvent]:
        """One customer's events in order; none where the tenant has no such customer."""
        opening = Opening(self._vault, bears_damage=False)
        while True:
            rows = await self._reader.fetch(
                opening.later,
                SQL["read_stream"],
                tenant,
                customer_id,
                after,
                STREAM_PAGE_EVENTS_MAX,
            )
            for opened in rows:  # one by one: whoever reads gets those before one that is damaged
                event = opened()
                yield event.decoded()
                after = Version(event.version)
            if len(rows) < STREAM_PAGE_EVENTS_MAX:
                return

    async def of_customers(
        self, after: tuple[str, int], last_customer_id: str, *, limit: int
    ) -> list[StoredEvent]:
        """Events of all customers up to one, by customer and version, after (customer, version);
        without their `meta`."""
        opening = Opening(self._vault, bears_damage=True)
        return await self._reader.fetch(
            opening.event, SQL["read_customers"], *after, last_customer_id, limit
        )

    async def stream_and_key(
        self, tenant: str, customer_id: CustomerId, key: str | None
    ) -> tuple[StreamHead | None, tuple[bytes, Replayed] | None]:
        """Where a stream stands, and the fingerprint and answer known under an idempotency key."""
        rows = await self._reader.fetch(
            _StreamAndKey, SQL["stream_and_key"], tenant, customer_id, key
        )
        row = rows[0]
        head = None
        if row.version is not None and row.position is not None and row.is_closed is not None:
            head = StreamHead(Version(row.version), Position(row.position), row.is_closed)
        return head, _known(row)


def _known(row: _StreamAndKey) -> tuple[bytes, Replayed] | None:
    if row.fingerprint is None or row.customer_id is None or row.status is None:
        return None
    if row.known_version is None or row.known_position is None:
        return None
    replayed = Replayed(
        CustomerId(row.customer_id),
        Version(row.known_version),
        Position(row.known_position),
        row.status,
        row.subject,
    )
    return row.fingerprint, replayed
