"""When a role says that it is ready, or listens at all, it answers the very next request."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from service.cli import watch as watching
from service.cli.watch import Watch
from service.errors import Unavailable
from service.event_log import EventLog
from service.master_key import KeySource, provide_master_key
from service.postgres import Postgres
from service.telemetry import Health, Metrics


async def test_who_is_told_that_all_is_there_finds_the_epoch_known(
    database: str, tmp_path: Path
) -> None:
    """Also before the watch itself has looked: nobody runs it here."""
    source = KeySource(tmp_path / "master.key")
    async with Postgres.connect(database) as postgres:
        watch = Watch(postgres, source.create(), source, Metrics("api"))
        before = await Health(watch.checks).readiness()
        assert (before.ready, before.missing) == (False, ("migrations",))
        with pytest.raises(Unavailable):
            watch.epoch()
        await provide_master_key(postgres, source)
        assert (await Health(watch.checks).readiness()).ready
        assert watch.epoch() == (await EventLog(postgres).head()).epoch


async def test_who_waits_for_the_first_look_finds_the_epoch_known(
    database: str, tmp_path: Path
) -> None:
    source, stop = KeySource(tmp_path / "master.key"), asyncio.Event()
    async with Postgres.connect(database) as postgres, asyncio.TaskGroup() as group:
        key = await provide_master_key(postgres, source)
        watch = Watch(postgres, key, source, Metrics("api"))
        group.create_task(watch.run(stop))
        await watch.looked()
        assert watch.epoch() == (await EventLog(postgres).head()).epoch
        stop.set()


async def test_nobody_waits_for_ever_for_a_look(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "FIRST_LOOK_SECONDS", 0.01)
    source = KeySource(tmp_path / "master.key")
    async with Postgres.connect(database) as postgres:
        watch = Watch(postgres, source.create(), source, Metrics("api"))
        await watch.looked()
        with pytest.raises(Unavailable):
            watch.epoch()
