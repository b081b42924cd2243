"""What an outage of PostgreSQL leaves in the log: one line when it begins, one when it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
from structlog.testing import capture_logs

from projections.applier import Applier
from projections.store import CheckpointLost
from service.cli.watch import Watch
from service.errors import Unavailable
from service.master_key import KeySource, provide_master_key
from service.postgres import Postgres
from service.telemetry import Metrics
from tests.servers.server import Handle
from tests.support.logs import a_creation
from tests.support.projections import projected, running
from tests.support.topics import eventually

LOOKS = 5
QUICKLY_SECONDS = 0.02
TOLD = {"database_lost", "database_back", "checkpoint_lost"}


@asynccontextmanager
async def out_of_reach(database: str, server: Handle) -> AsyncIterator[None]:
    """The server ends every connection to the database, and takes none while the block runs."""
    name = urlsplit(database).path.removeprefix("/")
    connection = await asyncpg.connect(server.server.address)
    try:
        await connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name
        )
        yield
    finally:
        await connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
        await connection.close()


async def wait_for(lines: list[dict[str, object]], *events: str) -> None:
    """Until these events, and no other of the watched, were logged in this order."""
    watched = {*TOLD, *events}

    async def are_there() -> bool:
        found = [line["event"] for line in lines if line["event"] in watched]
        return found == [*events]

    await eventually(are_there)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Every look at the database, and whether it went well; they come quickly."""
    done: list[bool] = []
    look = Watch._look

    async def look_and_tell(self: Watch) -> None:
        try:
            await look(self)
        except Unavailable:
            done.append(False)
            raise
        done.append(True)

    monkeypatch.setattr(Watch, "_look", look_and_tell)
    monkeypatch.setattr("service.cli.watch.WATCH_SECONDS", QUICKLY_SECONDS)
    monkeypatch.setattr("service.cli.watch.RETRY_SECONDS", QUICKLY_SECONDS)
    return done


async def test_every_role_logs_that_its_database_is_gone_and_that_it_is_back(
    database: str, postgres_server: Handle, tmp_path: Path, looks: list[bool]
) -> None:
    source = KeySource(tmp_path / "master.key")
    stop = asyncio.Event()

    async def has_looked(*last: bool) -> bool:
        return looks[-len(last) :] == [*last]

    async with Postgres.connect(database) as postgres:
        watch = Watch(postgres, source.create(), source, Metrics("api"))
        with capture_logs() as lines:
            watching = asyncio.create_task(watch.run(stop))
            await eventually(lambda: has_looked(*[False] * LOOKS))
            await wait_for(lines, "database_lost")
            await provide_master_key(postgres, source)
            await eventually(lambda: has_looked(*[True] * LOOKS))
            await wait_for(lines, "database_lost", "database_back")
            async with out_of_reach(database, postgres_server):
                await eventually(lambda: has_looked(*[False] * LOOKS))
            await eventually(lambda: has_looked(*[True] * LOOKS))
            await wait_for(lines, *["database_lost", "database_back"] * 2)
            stop.set()
            await watching
    lost = [line for line in lines if line["event"] == "database_lost"]
    assert [line["code"] for line in lost] == ["database_not_ready", "database_unavailable"]


async def test_a_projection_logs_that_it_cannot_measure_and_that_it_goes_on(
    database: str, postgres_server: Handle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projections.runner.OBSERVE_SECONDS", QUICKLY_SECONDS)
    async with projected(database) as world:
        runner = world.runner()

        async def is_unavailable() -> bool:
            return runner.status.phase == "unavailable"

        with capture_logs() as lines:
            async with running(runner):
                await eventually(world.is_up_to_date)
                async with out_of_reach(database, postgres_server):
                    await eventually(is_unavailable)
                    await wait_for(lines, "observing_broke_off")
                await wait_for(lines, "observing_broke_off", "observing_goes_on")
                await wait_for(lines, "projecting_goes_on")


async def test_a_checkpoint_that_another_worker_moved_is_logged_once(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply, lost = Applier.apply, []

    async def apply_at_last(self: Applier, *batch: object) -> None:
        if len(lost) < LOOKS:
            lost.append(batch)
            raise CheckpointLost
        await apply(self, *batch)

    monkeypatch.setattr(Applier, "apply", apply_at_last)
    async with projected(database) as world:
        with capture_logs() as lines:
            async with running(world.runner()):
                await world.appender.append(a_creation("jane@example.com"))
                await eventually(world.is_up_to_date)
        await world.assert_exact()
    assert len(lost) == LOOKS
    await wait_for(lines, "checkpoint_lost")
