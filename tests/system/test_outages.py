"""Kafka and Postgres go away under running processes and come back; callers are told the truth.

Invariant: none of our processes is started again here: each must find its way back by itself.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import uuid4

import pytest

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
