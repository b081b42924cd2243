"""One customer's history: its events, the oldest first, and what each changed.

Invariants: it ends at the version that the customer had when it was asked for, and is answered only
of who lives at the end, too. Where its beginning is archived it says up to which version, and is
whole from there on. However far a page is into a long history, one state, one page of the
log and the page itself are in memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import NamedTuple, Protocol

import orjson

from service.customer import Customer, evolve
from service.documents import CustomerDocument, timestamp_text
from service.errors import Corrupt, EventsArchived
from service.event_log import EventLog
from service.events import (
    NO_VERSION,
    Event,
    OrderRecorded,
    Position,
    RecordedEvent,
    Version,
    encode,
)
from service.identifiers import CustomerId
from service.queries.changes import changes
from service.queries.cursor import Cursors, Place
from service.queries.customer_query import CustomerQuery
from service.snapshots import Snapshot

PAGE_BYTES_MAX = 2 * 1024 * 1024  # and one event, which may be 2 MB: the rest is on the next page
_BINDING = "events of a customer"
_IN_ORDER = ()  # a history has one order, which no key needs to name


class EventsRequest(Protocol):
    """One page, checked by who builds it."""

    @property
    def after(self) -> int:
        """The version before the first on the page; a cursor decides it where there is one."""

    @property
    def display(self) -> int: ...
    @property
    def cursor(self) -> str | None: ...


class EventsFound(NamedTuple):
    """Finished JSON, and the places of the customer's latest event."""

    body: bytes
    version: Version
    position: Position


class Told(NamedTuple):
    """An event, and how it is shown: finished JSON."""

    recorded: RecordedEvent
    text: bytes


class History:
    """Reads histories; keeps none."""

    def __init__(self, customers: CustomerQuery, event_log: EventLog, cursor_key: bytes) -> None:
        self._customers = customers
        self._event_log = event_log
        self._cursors = Cursors(cursor_key)

    async def page(
        self, tenant: str, customer_id: CustomerId, currency: str, request: EventsRequest
    ) -> EventsFound:
        """Raises NotFound, Rejected `invalid_cursor`, Unavailable; EventsArchived where the events
        went into the archive while they were read."""
        binding = orjson.dumps([_BINDING, tenant, customer_id])
        after = request.after
        if request.cursor is not None:
            after = self._cursors.open(request.cursor, _IN_ORDER, binding).page
        standing = await self._customers.living(tenant, customer_id)
        whole = _Whole(self._event_log.folding(tenant, customer_id))
        until = min(standing.version, after + request.display)
        events: list[bytes] = []
        if after < until:
            await whole.begin()
            after = max(after, whole.archived)
            until = min(standing.version, after + request.display)
        if after < until:
            told = tell(whole.events(), currency, after=Version(after), until=Version(until))
            events = await _page(told)
            until = Version(after + len(events))
        if whole.has_begun:
            await self._customers.living(tenant, customer_id)  # a deletion blanks what is read
        next_cursor = None
        if until < standing.version:
            next_cursor = self._cursors.seal(Place(until, customer_id, ()), _IN_ORDER, binding)
        body = _body(standing.version, events, next_cursor, whole.archived)
        return EventsFound(body, Version(standing.version), Position(standing.position))


class _Whole:
    """A stream from its beginning, or from the snapshot in that one's place, which is looked for
    first. `archived`: the version of that, 0 = there is none."""

    def __init__(self, stream: AsyncIterator[Snapshot | RecordedEvent]) -> None:
        self._stream = stream
        self._first: Snapshot | RecordedEvent | None = None
        self.archived = 0
        self.has_begun = False

    async def begin(self) -> None:
        self.has_begun = True
        self._first = await anext(self._stream, None)
        if isinstance(self._first, Snapshot):
            self.archived = self._first.version

    async def events(self) -> AsyncIterator[Snapshot | RecordedEvent]:
        if self._first is not None:
            yield self._first
        async for each in self._stream:
            if isinstance(each, Snapshot):  # in place of events that would be left out of the page
                raise EventsArchived(each.position)
            yield each


async def _page(told: AsyncIterator[Told]) -> list[bytes]:
    """The first of them, up to the one that makes them PAGE_BYTES_MAX; others get their turn."""
    events: list[bytes] = []
    size = 0
    async for each in told:
        events.append(each.text)
        size += len(each.text)
        if size >= PAGE_BYTES_MAX:
            break
        await asyncio.sleep(0)
    return events


async def tell(
    stream: AsyncIterator[Snapshot | RecordedEvent],
    currency: str,
    *,
    until: Version,
    after: Version = NO_VERSION,
) -> AsyncIterator[Told]:
    """The events with `after < version <= until` of a whole stream, which is folded up to there.

    Raises Corrupt where the stream ends before `until`.
    """
    customer: Customer | None = None
    before: CustomerDocument | None = None
    async for recorded in stream:
        customer = evolve(customer, recorded)
        if recorded.version >= after:
            document = customer.document(currency)
            if recorded.version > after and not isinstance(recorded, Snapshot):
                yield Told(recorded, _event(recorded, changes(before, document)))
            before = document
        if recorded.version == until:
            return
    raise Corrupt(f"a stream ends before its version {until}")


def _event(recorded: RecordedEvent, changed: bytes) -> bytes:
    event, meta = recorded.event, recorded.meta
    return orjson.dumps(
        {
            "id": recorded.id,
            "position": recorded.position,
            "version": recorded.version,
            "type": f"{event.type}.v{event.schema_version}",  # as published
            "time": timestamp_text(recorded.time),
            "actor": {"type": meta.actor.type, "id": meta.actor.id, "name": meta.actor.name},
            "requestId": meta.request_id,
            "data": _data(event),
            "changes": orjson.Fragment(changed),
        }
    )


def _data(event: Event) -> object:
    """As published, in the shape of today."""
    if isinstance(event, OrderRecorded):
        order = event.order.model_dump(by_alias=True)
        return {"order": order | {"placedAt": timestamp_text(event.order.placed_at)}}
    return orjson.Fragment(encode(event))


def _body(count: int, events: list[bytes], next_cursor: str | None, archived: int) -> bytes:
    cursor, told = orjson.dumps(next_cursor), b""
    if archived:
        told = b',"archivedTo":%d' % archived
    page = b",".join(events)
    return b'{"count":%d,"events":[%b],"nextCursor":%b%b}' % (count, page, cursor, told)
