"""The feed over HTTP: a page of lines, or a stream of events that does not end.

Invariants: what a caller is sent while it reads slowly is bounded, in pages and in streams, and so
is how slowly it may read; a stream ends once its token does, and when the process stops. Neither
takes a slot, since both have limits of their own.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing, contextmanager
from typing import Protocol
from weakref import WeakValueDictionary

from aiohttp import hdrs, web
from multidict import CIMultiDictProxy

from service.errors import Fault, Unavailable
from service.events import Position
from service.http.auth import Authenticator, bearer_of
from service.http.call import Call, empty_response
from service.http.feed_route import EVENT_STREAM, LAST_EVENT_ID, NDJSON, FeedQuery
from service.http.headers import AS_OF_POSITION, LOG_EPOCH
from service.http.problems import Refused
from service.http.query_params import INTEGER_MAX
from service.http.slots import Slots
from service.http.streaming import streamed

PAGES_AT_ONCE_MAX = 8  # read or being sent, in one process; 8 MiB each
PAGES_PER_TENANT_MAX = 6  # whoever reads slowly leaves something to others
PAGE_SECONDS_MAX = 120.0  # for a caller to take a page
CHUNK_BYTES = 64 * 1024
STREAMS_MAX = 100  # of one process
STREAMS_PER_TOKEN_MAX = 10
COMMENT_SECONDS = 15.0  # also between looks at the token
RECONNECT = b"retry: 1000\n\n"  # milliseconds, for browsers; and the beginning is seen at once

_POSITION = re.compile(r"[0-9]{1,19}")


class Line(Protocol):
    @property
    def position(self) -> int: ...
    @property
    def type(self) -> str: ...
    @property
    def text(self) -> bytes: ...


class Lines(Protocol):
    """Up to `position` nothing is left out."""

    @property
    def lines(self) -> Sequence[Line]: ...
    @property
    def position(self) -> int: ...


class FeedQueries(Protocol):
    async def head(self, after: int) -> Position:
        """Raises EventsArchived where what comes after a position is."""

    async def page(self, tenant: str, request: FeedQuery, epoch: str) -> Lines: ...

    def follow(
        self, tenant: str, after: int, types: tuple[str, ...] | None, epoch: str
    ) -> AsyncGenerator[Lines, None]:
        """Ends when the process stops; without events it gives a sign of life every second."""


class Feed:
    """Answers for one process."""

    def __init__(self, feed: FeedQueries, authenticator: Authenticator) -> None:
        self._feed = feed
        self._authenticator = authenticator
        self._pages = Slots(PAGES_AT_ONCE_MAX)
        self._pages_of: WeakValueDictionary[str, Slots] = WeakValueDictionary()  # by tenant
        self._streams = _Streams()

    async def read(self, call: Call) -> web.StreamResponse:
        """In the form that the caller accepts."""
        assert isinstance(call.query, FeedQuery)
        if _accepts_stream(call.request.headers):
            return await self._stream(call, call.query)
        return await self._page(call, call.query)

    async def _page(self, call: Call, query: FeedQuery) -> web.StreamResponse:
        tenant = call.principal.tenant
        own = self._pages_of.get(tenant) or Slots(PAGES_PER_TENANT_MAX)
        self._pages_of[tenant] = own
        async with own, self._pages:
            found = await self._feed.page(tenant, query, call.epoch)
            body = b"".join(line.text + b"\n" for line in found.lines)
            headers = _headers(call, NDJSON, found.position)
            headers[hdrs.CONTENT_LENGTH] = str(len(body))
            del found
            if call.request.method == hdrs.METH_HEAD:
                return empty_response(200, headers)
            return await streamed(call.request, call.request_id, _pieces(body), headers)

    async def _stream(self, call: Call, query: FeedQuery) -> web.StreamResponse:
        after = _last_event_id(call.request.headers)
        place = query.after if after is None else after
        principal = call.principal
        with self._streams.one_more((principal.tenant, principal.actor.id)):
            headers = _headers(call, EVENT_STREAM, await self._feed.head(place))
            headers["X-Accel-Buffering"] = "no"  # nginx would hold events back
            if call.request.method == hdrs.METH_HEAD:
                return empty_response(200, headers)
            follow = self._feed.follow(principal.tenant, place, query.types, call.epoch)
            events = self._events(call, follow, place)
            return await streamed(call.request, call.request_id, events, headers)

    async def _events(
        self, call: Call, follow: AsyncGenerator[Lines, None], place: int
    ) -> AsyncGenerator[bytes, None]:
        yield RECONNECT
        loop = asyncio.get_running_loop()
        said_at = checked_at = loop.time()
        async with aclosing(follow):
            async for found in follow:
                if call.request.transport is None:
                    return  # the caller has left
                now = loop.time()
                if now >= checked_at + COMMENT_SECONDS:
                    checked_at = now
                    if not await self._may_go_on(call):
                        return
                if found.lines:
                    yield b"".join(map(_event, found.lines))
                elif now >= said_at + COMMENT_SECONDS:
                    yield _comment(place, found.position)
                else:
                    continue
                said_at, place = loop.time(), found.position

    async def _may_go_on(self, call: Call) -> bool:
        try:
            bearer = bearer_of(call.request.headers)
            return await self._authenticator.authenticate(bearer) is not None
        except Unavailable:
            return True  # nobody can tell now: asked again the next time


class _Streams:
    """How many are open; by tenant and token."""

    def __init__(self) -> None:
        self._open: Counter[tuple[str, str]] = Counter()

    @contextmanager
    def one_more(self, caller: tuple[str, str]) -> Iterator[None]:
        """Raises Refused `overloaded`."""
        if self._open[caller] >= STREAMS_PER_TOKEN_MAX or self._open.total() >= STREAMS_MAX:
            raise Refused("overloaded", "Too many streams of events are open.")
        self._open[caller] += 1
        try:
            yield
        finally:
            self._open -= Counter({caller: 1})  # and who has none is forgotten


def _headers(call: Call, media_type: str, position: int) -> dict[str, str]:
    return {
        hdrs.CONTENT_TYPE: media_type,
        AS_OF_POSITION: str(position),
        LOG_EPOCH: call.epoch,
    }


async def _pieces(body: bytes) -> AsyncGenerator[bytes, None]:
    """Raises TimeoutError where they are taken too slowly."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PAGE_SECONDS_MAX
    for start in range(0, len(body), CHUNK_BYTES):
        if loop.time() >= deadline:
            raise TimeoutError
        yield body[start : start + CHUNK_BYTES]


def _event(line: Line) -> bytes:
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (line.position, line.type.encode(), line.text)


def _comment(before: int, position: int) -> bytes:
    """With the place where a stream of few events has come to, for who reconnects."""
    return b":\nid: %d\n\n" % position if position > before else b":\n\n"


def _accepts_stream(headers: CIMultiDictProxy[str]) -> bool:
    """Whether `text/event-stream` is named, and not refused by a weight of 0."""
    for given in ",".join(headers.getall(hdrs.ACCEPT, ())).split(","):
        media_type, *parameters = (part.strip().lower() for part in given.split(";"))
        if media_type == EVENT_STREAM:
            return not any(re.fullmatch(r"q=0(\.0*)?", each) for each in parameters)
    return False


def _last_event_id(headers: CIMultiDictProxy[str]) -> int | None:
    """Raises Refused for what is no position."""
    given = headers.get(LAST_EVENT_ID.name)
    if given is None:
        return None
    if not _POSITION.fullmatch(given) or int(given) > INTEGER_MAX:
        fault = Fault(LAST_EVENT_ID.name, "not_a_position", "A position in digits is expected.")
        raise Refused("invalid_parameter", faults=[fault])
    return int(given)
