"""A reader of streams of events, as the HTML standard parses them; no more than tests need.

Invariant: nothing here is the service's own; what a browser would take for an event is one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
import orjson
from multidict import CIMultiDictProxy

from tests.support.api import Api

DEADLINE_SECONDS = 10.0
STREAM = {"Accept": "text/event-stream"}


@dataclass(frozen=True, slots=True)
class Received:
    """A block of a stream: an event, or with no data a comment or a mere id."""

    id: str
    event: str
    data: str
    is_comment: bool

    @property
    def line(self) -> dict[str, object]:
        return orjson.loads(self.data)


@dataclass
class Stream:
    """An answer that goes on; `last_id` is what a browser would send as Last-Event-ID."""

    answer: aiohttp.ClientResponse
    last_id: str = ""

    @property
    def headers(self) -> CIMultiDictProxy[str]:
        return self.answer.headers

    async def block(self) -> Received | None:
        """The next block; None at the end, which must have been a clean one."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(DEADLINE_SECONDS):
            while line := (await self.answer.content.readline()).decode():
                if line == "\n":
                    self.last_id = fields.get("id", self.last_id)
                    named = {name: fields.get(name, "") for name in ("id", "event", "data")}
                    return Received(**named, is_comment="" in fields)
                name, _, value = line.rstrip("\n").partition(":")
                assert name not in fields, "a line of data has no line breaks"
                fields[name] = value.removeprefix(" ")
        assert not fields, "ended inside of a block"
        return None

    async def event(self) -> Received:
        """The next one that has data."""
        while True:
            found = await self.block()
            assert found is not None, "the stream has ended"
            if found.data:
                return found

    async def events(self, count: int) -> list[dict[str, object]]:
        return [(await self.event()).line for _ in range(count)]

    async def comment(self) -> Received:
        while True:
            found = await self.block()
            assert found is not None, "the stream has ended"
            if found.is_comment:
                return found

    async def end(self) -> None:
        while await self.block() is not None:
            pass


@asynccontextmanager
async def streaming(
    api: Api, query: str = "", headers: Mapping[str, str] | None = None
) -> AsyncIterator[Stream]:
    every = {"Authorization": f"Bearer {api.token}", **STREAM, **(headers or {})}
    async with api.session.get(f"{api.url}/events?{query}", headers=every) as answer:
        assert answer.status == 200, await answer.read()
        assert answer.headers["Content-Type"] == "text/event-stream"
        yield Stream(answer)
