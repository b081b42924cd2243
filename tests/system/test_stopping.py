"""SIGTERM under requests in flight: each of them is answered, and the process ends with 0."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from signal import SIGTERM
from uuid import uuid4

import aiohttp
import pytest

from service.http.app import build_app
from service.http.operations import operations_pages
from service.http.server import serve
from service.postgres import Postgres
from tests.end_to_end.command import STOP_TIMEOUT_SECONDS
from tests.support.api import ready, request_metrics
from tests.support.projections import recorded_events
from tests.support.topics import eventually
from tests.system.checking import check_log, check_writes
from tests.system.installation import Installation, Role
from tests.system.traffic import Answer, Caller, Ledger

CALLERS = 24
HOLD_APPENDS = "SELECT pg_advisory_xact_lock(7305002)"
WAITING_APPENDS = """
SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database
WHERE locktype = 'advisory' AND NOT granted AND datname = current_database()
"""


@pytest.mark.parametrize("processes", [1, 2])
async def test_requests_in_flight_are_answered(installation: Installation, processes: int) -> None:
    """The log is held until everybody waits for it and the stop was noticed."""
    api = await started(installation, processes)
    ledger = Ledger()
    caller = Caller(installation, [api], ledger)
    async with Postgres.connect(installation.database_url, pool_size_max=2) as postgres:
        async with holding_appends(postgres):
            asking = [asyncio.create_task(create(caller)) for _ in range(CALLERS)]
            await eventually(lambda: all_wait(postgres, processes))
            api.process.process.send_signal(SIGTERM)
            await eventually(lambda: all_know(api, processes))
        answers = await asyncio.gather(*asking)
        assert [answer.status for answer in answers] == [201] * CALLERS
        assert await asyncio.to_thread(api.process.process.wait, STOP_TIMEOUT_SECONDS) == 0
        assert api.failures == []
        events = await recorded_events(postgres, installation.vault)
    check_log(events)
    mine = {request_id for write in ledger.writes for request_id in write.request_ids}
    check_writes(ledger.writes, [event for event in events if event.meta.request_id in mine])


@pytest.mark.parametrize("processes", [1, 2])
async def test_callers_who_call_and_call_lose_no_write(
    installation: Installation, processes: int
) -> None:
    """Each write is answered, or finds nobody listening any more."""
    api = await started(installation, processes)
    ledger = Ledger()
    async with asyncio.TaskGroup() as callers:
        for _ in range(CALLERS):
            callers.create_task(keep_calling(Caller(installation, [api], ledger)))
        await eventually(lambda: has_answered(ledger, 10 * CALLERS))
        api.process.process.send_signal(SIGTERM)
    assert await asyncio.to_thread(api.process.process.wait, STOP_TIMEOUT_SECONDS) == 0
    assert not ledger.problems
    assert ledger.statuses.keys() == {201}
    assert api.failures == []


async def test_who_is_connected_and_not_accepted_yet_is_answered() -> None:
    """This loop does nothing else between the callers' connecting and the stop."""
    app = build_app(request_metrics(), operations_pages(ready, lambda: b""))
    async with serve(app, "127.0.0.1", 0, shutdown_timeout_seconds=5) as port:
        waiting = [socket.create_connection(("127.0.0.1", port)) for _ in range(CALLERS)]
        for caller in waiting:
            caller.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
    for caller in waiting:
        with caller:
            assert caller.recv(1_000).startswith(b"HTTP/1.1 200 ")


async def started(system: Installation, processes: int) -> Role:
    """An API, every process of which takes connections."""
    api = await system.start("api", *(["--workers", str(processes)] if processes > 1 else []))
    await eventually(lambda: has_said(api, "api_started", processes))
    return api


async def create(caller: Caller) -> Answer:
    return await caller.write("POST", "/user", {"email": f"{uuid4().hex}@example.com"})


async def keep_calling(caller: Caller) -> None:
    while True:
        try:
            await create(caller)
        except aiohttp.ClientConnectorError:
            return


@asynccontextmanager
async def holding_appends(postgres: Postgres) -> AsyncIterator[None]:
    async with postgres.transaction() as transaction:
        await transaction.execute(HOLD_APPENDS)
        yield


async def all_wait(postgres: Postgres, processes: int) -> bool:
    return await postgres.fetch_one(int, WAITING_APPENDS) == processes


async def all_know(api: Role, processes: int) -> bool:
    """The process itself, and each of its workers where it has some."""
    return await has_said(api, "stopping", 1 if processes == 1 else 1 + processes)


async def has_said(api: Role, event: str, times: int) -> bool:
    return len(api.logged(f'"event":"{event}"')) == times


async def has_answered(ledger: Ledger, count: int) -> bool:
    return ledger.statuses.total() >= count
