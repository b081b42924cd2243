"""The events of one tenant in position order: a page of them, and whatever comes after.

Invariants: up to the position that is told with them, none is left out, because positions are
contiguous and become visible in order; and that position moves on also where the tenant has nothing
in a long stretch. One request scans at most SCANNED_POSITIONS_MAX, and holds at most about
PAGE_BYTES_MAX; a process runs one statement of this room at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import NamedTuple, Protocol

import orjson

from service.documents import timestamp_text
from service.event_log import EventLog, StoredEvent
from service.events import Position, decode_meta
from service.identifiers import event_id
from service.postgres import Postgres
from service.queries.tail import Tail

PAGE_BYTES_MAX = 8 * 1024 * 1024  # of lines, and one read more: 10,000 of twice the usual size
READ_EVENTS_MAX = 250  # of one statement
SCANNED_POSITIONS_MAX = 100_000  # of the whole log, by one request, or one step of a stream
SHARED_READS_MAX = 16  # of streams that stand at the same place; about 1 MB each at most
PULSE_SECONDS = 1.0


class FeedRequest(Protocol):
    """What is asked for, checked by who builds it."""

    @property
    def after(self) -> int: ...
    @property
    def limit(self) -> int: ...
    @property
    def types(self) -> tuple[str, ...] | None:
        """Names of events as stored, or as published; None = all."""


class Line(NamedTuple):
    """One event: finished JSON in one line, without its end."""

    position: int
    type: str  # as published
    text: bytes


class Lines(NamedTuple):
    """`position`: of what was asked for, everything up to here is in the lines, or came before."""

    lines: Sequence[Line]
    position: int


class _Asked(NamedTuple):
    """One read: `after < position <= until`."""

    tenant: str
    types: tuple[str, ...] | None
    after: int
    until: int
    limit: int
    epoch: str


class Feed:
    """Safe to call from many tasks at once. Streams go on only while `run` does."""

    def __init__(self, postgres: Postgres, event_log: EventLog, *, pool_size_max: int) -> None:
        self._event_log = event_log
        self._tail = Tail(postgres, event_log, pool_size_max=pool_size_max)
        self._turn = asyncio.Lock()
        # Invariant: only reads up to what was the log's end, so none is older than a deletion that
        # whoever asks for the same could know of; at most SHARED_READS_MAX, and none from before
        # the log went on.
        self._shared: dict[_Asked, Lines] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Watch the log for those who follow it; when it stops, their streams end."""
        await self._tail.run(stop)

    async def head(self, after: int) -> Position:
        """Of the log's last event; streams know it from now on. Raises Unavailable; EventsArchived
        where what comes after a position is."""
        await self._event_log.require(after)
        head = await self._event_log.head()
        self._tail.saw(head.position)
        return head.position

    async def page(self, tenant: str, request: FeedRequest, epoch: str) -> Lines:
        """The events after a position, to the limit, or what bounds a request, or the log's end.

        Where that end lies before the position asked for, it is what is told. Raises Unavailable,
        EventsArchived.
        """
        until = min(await self.head(request.after), request.after + SCANNED_POSITIONS_MAX)
        place, size = request.after, 0
        lines: list[Line] = []
        while place < until and len(lines) < request.limit and size < PAGE_BYTES_MAX:
            limit = min(READ_EVENTS_MAX, request.limit - len(lines))
            async with self._turn:
                asked = _Asked(tenant, request.types, place, until, limit, epoch)
                more = await self._read(asked)
            place = more.position
            lines += more.lines
            size += sum(len(line.text) for line in more.lines)
        return Lines(lines, min(place, until))

    async def follow(
        self, tenant: str, after: int, types: tuple[str, ...] | None, epoch: str
    ) -> AsyncGenerator[Lines, None]:
        """All events after a position, for as long as they are asked for and the process works.

        Where there are none, an empty sign of life comes after PULSE_SECONDS. Ask for `head` first.
        Raises Unavailable, EventsArchived.
        """
        loop = asyncio.get_running_loop()
        with self._tail.followed():
            place, told_at = after, loop.time()
            while True:
                left = told_at + PULSE_SECONDS - loop.time()
                await self._tail.reach_beyond(place, max(left, 0))
                if self._tail.is_over:
                    return
                found: Sequence[Line] = ()
                until = min(self._tail.position, place + SCANNED_POSITIONS_MAX)
                if place < until:
                    asked = _Asked(tenant, types, place, until, READ_EVENTS_MAX, epoch)
                    found, place = await self._step(asked, is_end=until == self._tail.position)
                if found or loop.time() >= told_at + PULSE_SECONDS:
                    yield Lines(found, place)
                    told_at = loop.time()

    async def _step(self, asked: _Asked, *, is_end: bool) -> Lines:
        """Of streams that wake up at the same place at the log's end, the first one reads."""
        async with self._turn:
            if not is_end:
                return await self._read(asked)
            found = self._shared.get(asked)
            if found is None:
                found = await self._read(asked)
                self._keep(asked, found)
            return found

    def _keep(self, asked: _Asked, found: Lines) -> None:
        kept = [(key, lines) for key, lines in self._shared.items() if key.until >= asked.until]
        self._shared = dict([*kept[1 - SHARED_READS_MAX :], (asked, found)])

    async def _read(self, asked: _Asked) -> Lines:
        tenant, types, after, until, limit, epoch = asked
        page = await self._event_log.of_tenant(tenant, types, after, until, limit=limit)
        place = page[-1].position if page.goes_on else until
        return Lines([_line(event, epoch) for event in page], place)


def _line(event: StoredEvent, epoch: str) -> Line:
    """The data is passed on as it lies in the log, as in Kafka."""
    published = f"{event.type}.v{event.schema_version}"
    actor = decode_meta(event.meta).actor
    fields: dict[str, object] = {
        "position": event.position,
        "epoch": epoch,
        "id": event_id(event.id),
        "type": published,
        "customerId": event.customer_id,
        "version": event.version,
        "time": timestamp_text(event.time),
        "actor": {"type": actor.type, "id": actor.id, "name": actor.name},
        "data": orjson.Fragment(event.data),
    }
    if event.is_forgotten:
        fields["forgotten"] = True
    if event.is_damaged:
        fields["damaged"] = True
    return Line(event.position, published, orjson.dumps(fields))
