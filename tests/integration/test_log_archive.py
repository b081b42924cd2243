"""Partitions of the log into files and back: nothing lost, nothing changed, nobody kept waiting."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from time import monotonic

import pytest
from pyarrow import parquet

from projections.upkeep import still_needed
from service.customer import AddTags
from service.errors import ConfigurationError, Corrupt, Unavailable
from service.log_archive import Conditions, archived_partitions, hold_upkeep, partitions, upkeep
from service.postgres import Postgres, Reader
from tests.servers.server import Handle
from tests.support.archiving import (
    POSITIONS,
    TRIGGERS,
    Archive,
    age,
    log_of,
    old_customers,
    open_reader,
    small_partitions,
    stored,
)
from tests.support.logs import a_request
from tests.support.relays import is_true
from tests.support.topics import eventually
from tests.support.verifying import System, a_system

WAIT_SECONDS_MAX = 1.0  # for a write, while a partition is taken away


@pytest.fixture
async def system(database: str, kafka_server: Handle, topic_suffix: str) -> AsyncIterator[System]:
    async with a_system(database, kafka_server, topic_suffix) as made:
        await small_partitions(made.postgres)
        yield made


@pytest.fixture
def archive(system: System, tmp_path: Path) -> Archive:
    return Archive(system.postgres, tmp_path)


async def test_what_was_archived_and_attached_is_the_same_byte_by_byte(
    system: System, archive: Archive
) -> None:
    await old_customers(system, 3)
    before = await stored(system.postgres)
    names = [each.name for each in await partitions(system.postgres)]
    paths = await archive.archive(2)
    assert archive.steps == ["written", "verified", "snapshots made", "archived"] * 2
    left = await stored(system.postgres)
    assert left == before[2 * POSITIONS - 1 :]
    assert [each.name for each in await partitions(system.postgres)] == names[2:]
    assert await archive.archived_to() == 2 * POSITIONS - 1

    rows = [row for path in paths for row in parquet.read_table(path).to_pylist()]
    assert [row["position"] for row in rows] == list(range(1, 2 * POSITIONS))
    sealed = [row for row in rows if row["sealed"] is not None]
    assert len(sealed) > 10
    for each, path in zip(await archived_partitions(system.postgres), paths, strict=True):
        assert each.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        assert path.with_suffix(".sha256").read_text() == f"{each.sha256}  {path.name}\n"
        assert path.stat().st_mode & 0o777 == 0o600

    await archive.attach()
    assert await stored(system.postgres) == before[POSITIONS - 1 :]
    await archive.attach()
    assert await stored(system.postgres) == before
    assert [each.name for each in await partitions(system.postgres)] == names
    assert await archived_partitions(system.postgres) == []
    assert await system.postgres.fetch(str, "SELECT customer_id FROM log.snapshot") == []


async def test_what_was_attached_can_no_more_be_changed_than_before(
    system: System, archive: Archive
) -> None:
    await old_customers(system, 1)
    oldest = await archive.next()
    await archive.archive()
    await archive.attach()
    assert await system.postgres.fetch_one(int, TRIGGERS, oldest.name) == 2
    for statement in (
        "UPDATE log.event SET type = 'x' WHERE position = 1",
        "DELETE FROM log.event WHERE position = 1",
        f"TRUNCATE log.{oldest.name}",
    ):
        with pytest.raises(Corrupt, match="event_append_only"):
            await system.postgres.execute(statement)


async def test_a_file_that_is_not_what_was_archived_is_refused(
    system: System, archive: Archive, tmp_path: Path
) -> None:
    await old_customers(system, 2)
    first, second = await archive.archive(2)
    whole = second.read_bytes()
    middle = len(whole) // 2
    for damaged in (
        whole[:-1],
        whole + b"x",
        whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
        first.read_bytes(),
        b"",
    ):
        second.write_bytes(damaged)
        with pytest.raises(Corrupt, match="not the file that was archived"):
            await archive.attach()
        assert await archive.archived_to() == 2 * POSITIONS - 1
    second.write_bytes(whole)
    # As if the database took it for the right one: what it holds tells.
    await system.postgres.execute(
        "UPDATE log.archived SET sha256 = (SELECT sha256 FROM log.archived WHERE first_position"
        " = 1), file_bytes = (SELECT file_bytes FROM log.archived WHERE first_position = 1)"
    )
    with pytest.raises(Corrupt, match="holds positions"):
        await archive.attach(first)
    assert await archive.archived_to() == 2 * POSITIONS - 1


async def test_a_file_that_differs_from_the_log_takes_nothing_away(
    system: System, archive: Archive
) -> None:
    """It was written, and then the database was restored from elsewhere, or the disk lies."""
    await old_customers(system, 1)
    oldest = await archive.next()
    (path,) = await archive.archive()
    await archive.attach()
    await system.damage(
        "UPDATE log.event SET data = data || '{\"x\": 1}' WHERE position = 3",
    )
    with pytest.raises(Corrupt, match="differ in positions"):
        await archive.archive()
    assert (await archive.next()) == oldest._replace(bytes=(await archive.next()).bytes)
    assert path.exists()


async def test_who_waits_behind_a_reader_is_let_on_and_nothing_is_lost(
    system: System, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writers write all the time, and a reader never ends at first."""
    monkeypatch.setattr(upkeep, "PAUSE_SECONDS", 0.05)
    await old_customers(system, 2)
    slowest, stop, written = 0.0, asyncio.Event(), 0

    async def write() -> None:
        nonlocal slowest, written
        (who, *_) = await system.traffic(1)
        handler = system.handler
        while not stop.is_set():
            started = monotonic()
            await handler.handle(a_request(who, AddTags((f"t{written}",))))
            written += 1
            slowest = max(slowest, monotonic() - started)

    async with asyncio.TaskGroup() as group:
        group.create_task(write())
        async with open_reader(system.postgres):
            archiving = group.create_task(archive.archive(2))
            await eventually(lambda: is_true(written >= 100 and len(archive.steps) == 3))
            assert await archive.archived_to() == 0
        await archiving
        stop.set()
    assert slowest < WAIT_SECONDS_MAX
    assert await archive.archived_to() == 2 * POSITIONS - 1
    head = (await log_of(system).head()).position
    there = await system.postgres.fetch(int, "SELECT position FROM log.event ORDER BY position")
    assert there == list(range(2 * POSITIONS, head + 1))
    await archive.attach()
    await archive.attach()
    there = await system.postgres.fetch(int, "SELECT position FROM log.event ORDER BY position")
    assert there == list(range(1, head + 1))


async def test_a_reader_that_never_ends_is_given_up_for(
    system: System, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "ATTEMPTS_MAX", 2)
    monkeypatch.setattr(upkeep, "PAUSE_SECONDS", 0.01)
    await old_customers(system, 1)
    async with open_reader(system.postgres):
        with pytest.raises(Unavailable):
            await archive.archive()
    assert await archive.archived_to() == 0


async def test_one_at_a_time(system: System) -> None:
    async with hold_upkeep(system.postgres):
        with pytest.raises(ConfigurationError, match="is at work"):
            async with hold_upkeep(system.postgres):
                pass


async def test_what_somebody_still_needs_stays(system: System, archive: Archive) -> None:
    async def refused(text: str) -> None:
        with pytest.raises(ConfigurationError, match=text):
            await archive.archive()
        assert await archive.archived_to() == 0

    async def needs(reader: Postgres, position: int) -> list[str]:
        return await still_needed(reader, position, has_states=True)

    archive.conditions = Conditions(30 * 86_400.0, system.topic, needs)
    await system.traffic(1)
    await refused("it is not full")
    await old_customers(system, 2)
    await refused("0.0 days old, and 30.0 are asked for")
    async with system.mended("log.event"):
        await system.damage(f"DELETE FROM log.event WHERE position = {POSITIONS - 1}")  # noqa: S608
        await refused("the log lacks its last event")
    await age(system.postgres, 2 * POSITIONS)
    await refused("the relay has published up to position 0 to")
    await refused("the projection customers_v1 has applied up to position 0")
    await refused("the projection states_v1 has applied up to position 0")
    await system.settle()
    await system.postgres.execute(
        "INSERT INTO projection.parked (projection, version, customer_id, tenant, stream_version,"
        " position, reason) VALUES ('customers', 1, 'cust_x', 'default', 1, 5, 'refused')"
    )
    await refused("1 customers are parked")
    await system.postgres.execute("DELETE FROM projection.parked")
    await system.postgres.execute(
        "INSERT INTO projection.version (projection, version, state)"
        " VALUES ('customers', 2, 'building')"
    )
    await refused("version 2 of the read model is being built")
    await system.postgres.execute("DELETE FROM projection.version WHERE version = 2")
    await system.postgres.execute(
        "INSERT INTO derived.projection (name, version, shape) VALUES ('spend', 1, '')"
    )
    await refused("the projection spend_v1 has applied up to position 0")
    await system.postgres.execute("DELETE FROM derived.projection")
    await archive.archive()
    assert await archive.archived_to() == POSITIONS - 1


async def test_what_is_needed_again_meanwhile_stays(system: System, archive: Archive) -> None:
    """All is asked once more when nobody can write any longer."""
    await old_customers(system, 1)
    before = await stored(system.postgres)

    async def needs(_: Reader, __: int) -> list[str]:
        return ["somebody needs it"] if "snapshots made" in archive.steps else []

    archive.conditions = Conditions(0.0, None, needs)
    with pytest.raises(ConfigurationError, match="somebody needs it"):
        await archive.archive()
    assert archive.steps[-1] == "snapshots made"
    assert (await archive.archived_to(), await stored(system.postgres)) == (0, before)

    async def restored(_: Reader, __: int) -> list[str]:
        await system.postgres.execute("UPDATE log.head SET epoch = 'another'")
        return []

    archive.conditions = Conditions(0.0, None, restored)
    with pytest.raises(ConfigurationError, match="new epoch meanwhile"):
        await archive.archive()
    assert (await archive.archived_to(), await stored(system.postgres)) == (0, before)


async def test_who_cannot_be_read_keeps_the_partition(system: System, archive: Archive) -> None:
    customers = await old_customers(system, 1)
    who = customers[0]
    await system.damage(f"DELETE FROM vault.customer_key WHERE customer_id = '{who}'")  # noqa: S608
    with pytest.raises(Corrupt, match=f"1 customers who cannot be read.*{who}"):
        await archive.archive()
    assert await archive.archived_to() == 0
