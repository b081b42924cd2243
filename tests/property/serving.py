"""The API for tests that are not asynchronous themselves, as hypothesis' state machines are.

Invariant: one event loop, which runs only while somebody waits for an answer; one task enters and
leaves whatever the API holds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count

from service.event_log import EventLog
from service.events import Position, RecordedEvent
from service.postgres import Postgres
from service.tokens import SCOPES
from tests.property.api_model import Call
from tests.support.api import Answer, Api, running_api
from tests.support.vaults import VAULT


@dataclass
class Server:
    """An API on a database of its own, and its log."""

    runner: asyncio.Runner
    api: Api
    log: EventLog
    numbers: Iterator[int] = field(default_factory=count)

    def callers(self) -> dict[str, Api]:
        """By tenant: callers who may do everything, in two tenants that nobody has used yet."""
        number = next(self.numbers)
        return {name: self._caller(f"{name}-{number}") for name in ("north", "south")}

    def _caller(self, tenant: str) -> Api:
        return self.runner.run(self.api.with_scopes(*SCOPES, tenant=tenant))

    def answer(self, caller: Api, call: Call) -> Answer:
        return self.runner.run(
            caller.call(call.method, call.prefix + call.path, call.body, headers=call.headers)
        )

    def position(self) -> int:
        return self.runner.run(self.log.head()).position

    def events_after(self, position: int) -> list[RecordedEvent]:
        return self.runner.run(self._events_after(position))

    async def _events_after(self, position: int) -> list[RecordedEvent]:
        events: list[RecordedEvent] = []
        while page := await self.log.page(Position(position + len(events))):
            events += [stored.decoded() for stored in page]
        return events


@contextmanager
def serving(database_url: str) -> Iterator[Server]:
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        loop = runner.get_loop()
        started: asyncio.Future[tuple[Api, EventLog]] = loop.create_future()
        ended = asyncio.Event()
        holding = loop.create_task(_hold(database_url, started, ended))
        api, log = runner.run(_first(started, holding))
        try:
            yield Server(runner, api, log)
        finally:
            ended.set()
            runner.run(asyncio.wait_for(holding, timeout=20))


async def _hold(
    database_url: str, started: asyncio.Future[tuple[Api, EventLog]], ended: asyncio.Event
) -> None:
    async with running_api(database_url) as api, Postgres.connect(database_url) as postgres:
        started.set_result((api, EventLog(postgres, VAULT)))
        await ended.wait()


async def _first(
    started: asyncio.Future[tuple[Api, EventLog]], holding: asyncio.Task[None]
) -> tuple[Api, EventLog]:
    await asyncio.wait({started, holding}, return_when=asyncio.FIRST_COMPLETED)
    if holding.done():
        holding.result()
    return started.result()
