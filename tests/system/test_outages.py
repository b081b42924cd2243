"""Kafka and Postgres go away under running processes and come back; callers are told the truth.

Invariant: none of our processes is started again here: each must find its way back by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic
from uuid import uuid4

import aiohttp
import pytest

from service.postgres import Postgres
from tests.servers.apache_kafka import LocalKafka
from tests.servers.pausing import paused
from tests.servers.postgres import LocalPostgres
from tests.servers.server import Controllable, Wipeable
from tests.support.topics import eventually
from tests.system.checking import check_everything
from tests.system.installation import Installation, Role
from tests.system.traffic import Answer, Caller, Ledger, under_load

# The stand-in loses its records with its process, and its groups with their members.
pytestmark = pytest.mark.real_kafka

WRITES = 30
NOTICED_WITHIN_SECONDS = 10.0
WORKS_AGAIN_WITHIN_SECONDS = 30.0
ANSWERED_WITHIN_SECONDS = 2.0  # each, where the service does not need what hangs
# A statement that hangs is given up after 10 s, and its connection 2 s later; a read may have to
# wait for the one before. The rest is for a machine that is busy.
REFUSED_WITHIN_SECONDS = 30.0
CALLERS = 200
MEMORY = "process_resident_memory_bytes"
MEMORY_BYTES_MAX = 100_000_000


@dataclass
class Running:
    """One of each role, all of them up to the end."""

    system: Installation
    api: Role
    relay: Role
    projections: Role
    ledger: Ledger = field(default_factory=Ledger)

    @property
    def caller(self) -> Caller:
        return Caller(self.system, [self.api], self.ledger)

    async def create(self) -> Answer:
        return await self.caller.write("POST", "/user", {"email": f"{uuid4().hex}@example.com"})

    async def get(self, path: str) -> tuple[int, str | None, str | None]:
        """Status, code and Retry-After, whenever they come."""
        timeout = aiohttp.ClientTimeout(total=REFUSED_WITHIN_SECONDS)
        async with self.system.session.get(
            self.api.url + path, headers=self.system.headers, timeout=timeout
        ) as answer:
            code = (await answer.json(content_type=None)).get("code")
            return answer.status, code, answer.headers.get("Retry-After")

    async def says(self, role: Role, status: int, word: str) -> bool:
        return await self.system.readiness(role) == (status, word)

    async def check(self) -> None:
        await check_everything(self.system, self.api, self.ledger)
        for role in self.system.roles:
            assert role.is_running
            assert role.logged("request_failed") == []
            ready = lambda role=role: self.says(role, 200, "ready")  # noqa: E731
            await eventually(ready, WORKS_AGAIN_WITHIN_SECONDS)


@pytest.fixture(scope="module")
async def running(breakable_installation: Installation) -> Running:
    system = breakable_installation
    roles = [system.launch(name) for name in ("api", "relay", "projections")]
    await system.until_ready(*roles)
    return Running(system, *roles)


@asynccontextmanager
async def down(server: Controllable, running: Running) -> AsyncIterator[None]:
    """Kill a server; start it again at the end of the block, whatever happened in it."""
    await server.kill()
    try:
        yield
    finally:
        await server.restart()
        if isinstance(server, Wipeable):
            await running.system.command("migrate")  # the stand-in has forgotten its topics


async def test_without_kafka_callers_are_served_and_the_backlog_is_published_later(
    running: Running, breakable_kafka: Wipeable
) -> None:
    async with down(breakable_kafka, running):
        degraded = lambda: running.says(running.api, 200, "degraded")  # noqa: E731
        await eventually(degraded, NOTICED_WITHIN_SECONDS)
        for role in (running.relay, running.projections):
            await eventually(
                lambda role=role: running.says(role, 503, "not ready"), NOTICED_WITHIN_SECONDS
            )
        for _ in range(WRITES):
            created = await running.create()
            assert created.status == 201
            changed = await running.caller.write("PUT", created.path, {"firstName": "Jane"})
            found = await running.caller.get(created.path)
            assert (found.status, found.body) == (200, changed.body)
        lagging = await running.caller.get(f"/user?minPosition={changed.position}")
        assert (lagging.status, lagging.code) == (503, "projection_lag")
        assert lagging.retry_after is not None
    await running.check()


async def test_a_kafka_that_was_wiped_gets_everything_again(
    running: Running, breakable_kafka: Wipeable
) -> None:
    async with under_load(running.system, [running.api], running.ledger) as load:
        await load.grows(WRITES)
        await breakable_kafka.wipe()
        await load.grows(WRITES)
        await running.system.command("migrate")
        await load.grows(WRITES)
    await running.check()


async def test_without_postgres_callers_are_told_to_come_back_and_nothing_is_lost(
    running: Running, breakable_postgres: Controllable
) -> None:
    before = await running.create()
    async with under_load(running.system, [running.api], running.ledger) as load:
        await load.grows(WRITES)
        async with down(breakable_postgres, running):
            not_ready = lambda: running.says(running.api, 503, "not ready")  # noqa: E731
            await eventually(not_ready, NOTICED_WITHIN_SECONDS)
            for refused in (await running.create(), await running.caller.get(before.path)):
                assert (refused.status, refused.code) == (503, "database_unavailable")
                assert refused.retry_after is not None
        await load.grows(WRITES)
    assert (await running.caller.get(before.path)).body == before.body
    assert running.ledger.statuses.keys() == {200, 201, 503}
    assert running.ledger.problems.keys() == {"database_unavailable"}
    assert running.ledger.lost == 0
    await running.check()


async def test_a_kafka_that_hangs_slows_no_write_and_no_list(
    running: Running, breakable_kafka: Wipeable
) -> None:
    assert isinstance(breakable_kafka, LocalKafka)
    with paused(breakable_kafka.process_id):
        for _ in range(WRITES):
            began = monotonic()
            created = await running.create()
            assert created.status == 201
            found = await running.caller.get(created.path)
            assert (found.status, found.body) == (200, created.body)
            assert (await running.caller.get("/user?tag=vip")).status == 200
            assert monotonic() - began < 3 * ANSWERED_WITHIN_SECONDS
    await running.check()


@asynccontextmanager
async def hanging(server: Controllable) -> AsyncIterator[None]:
    """The whole PostgreSQL stands still."""
    assert isinstance(server, LocalPostgres)
    with paused(server.process_id):
        yield


@asynccontextmanager
async def locked(database_url: str) -> AsyncIterator[None]:
    """PostgreSQL works, and every command waits for one table."""
    async with (
        Postgres.connect(database_url, pool_size_max=1) as postgres,
        postgres.transaction() as transaction,
    ):
        await transaction.execute("LOCK TABLE log.stream IN ACCESS EXCLUSIVE MODE")
        yield


@pytest.mark.parametrize("trouble", ["hangs", "locked"])
async def test_a_slow_postgres_refuses_everybody_in_time_and_holds_no_memory(
    running: Running, breakable_postgres: Controllable, trouble: str
) -> None:
    before = await running.create()
    memory = await running.system.metric(running.api, MEMORY)
    is_hanging = trouble == "hangs"
    url = running.system.database_url
    async with under_load(running.system, [running.api], running.ledger) as load:
        await load.grows(WRITES)
        async with hanging(breakable_postgres) if is_hanging else locked(url):
            began = monotonic()
            refused = await asyncio.gather(*(running.get(before.path) for _ in range(CALLERS)))
            assert monotonic() - began < REFUSED_WITHIN_SECONDS
            assert {status for status, _, _ in refused} == {503}
            assert {code for _, code, _ in refused} <= {"database_unavailable", "overloaded"}
            assert all(retry_after is not None for _, _, retry_after in refused)
            async with running.system.session.get(f"{running.api.url}/livez") as alive:
                assert alive.status == 200
            grown = await running.system.metric(running.api, MEMORY) - memory
        await load.grows(WRITES)
    assert grown < MEMORY_BYTES_MAX
    assert (await running.caller.get(before.path)).body == before.body
    assert running.ledger.statuses.keys() == {200, 201, 503}
    await running.check()
