"""States in place of what is archived: whose they are, and when they are not read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.customer import AddTags
from service.event_log import SQL, EventLog
from service.log_archive.folding import make_snapshots
from service.postgres import Postgres, RowMaker
from service.postgres import Row as Made
from service.snapshots import Snapshot
from tests.servers.server import Handle
from tests.support.archiving import Archive, Silent, log_of, old_customers, small_partitions
from tests.support.logs import a_request
from tests.support.topics import eventually
from tests.support.vaults import VAULT
from tests.support.verifying import System, a_system

DELETION = """
SELECT pg_advisory_xact_lock(7305002);
UPDATE log.stream SET is_closed = true WHERE customer_id = '{who}';
UPDATE vault.customer_key SET wrapped = NULL, destroyed_at = now() WHERE customer_id = '{who}';
"""
WAITS_FOR_APPENDS = """
SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database
WHERE datname = current_database() AND locktype = 'advisory' AND objid = 7305002 AND NOT granted
"""


class Attaching:
    """Reads; and before it looks for a state, the partition comes back."""

    def __init__(self, postgres: Postgres, archive: Archive) -> None:
        self._postgres = postgres
        self._archive = archive

    async def fetch(self, row: RowMaker[Made], statement: str, *arguments: object) -> list[Made]:
        if statement == SQL["read_snapshot"]:
            await self._archive.attach()
        return await self._postgres.fetch(row, statement, *arguments)


@pytest.fixture
async def system(database: str, kafka_server: Handle, topic_suffix: str) -> AsyncIterator[System]:
    async with a_system(database, kafka_server, topic_suffix) as made:
        await small_partitions(made.postgres)
        yield made


@pytest.fixture
def archive(system: System, tmp_path: Path) -> Archive:
    return Archive(system.postgres, tmp_path)


async def test_a_deletion_under_way_at_the_end_of_a_look_leaves_no_state(
    system: System, archive: Archive
) -> None:
    """It has looked for states before there was one, and ends after they were looked through."""
    customers = await old_customers(system, 1)
    who = customers[0]
    async with system.postgres.transaction() as deletion:
        await deletion.execute(DELETION.replace("{who}", who))
        looking = asyncio.create_task(
            make_snapshots(system.postgres, VAULT, await archive.next(), Silent())
        )

        async def has_looked() -> bool:
            return looking.done() or await system.postgres.fetch(int, WAITS_FOR_APPENDS) != [0]

        await eventually(has_looked)
    await looking
    held = await system.postgres.fetch(str, "SELECT customer_id FROM log.snapshot")
    assert who not in held
    assert held


async def test_states_of_a_partition_that_stayed_take_no_place_of_its_events(
    system: System, archive: Archive
) -> None:
    """Its command was given up after it had made them."""
    (who, *_) = await old_customers(system, 1)
    await system.handler.handle(a_request(who, AddTags(("later",))))
    await old_customers(system, 2)
    await archive.archive()
    await make_snapshots(system.postgres, VAULT, await archive.next(), Silent())
    first, *others = [each async for each in log_of(system).folding("default", who)]
    assert isinstance(first, Snapshot)
    assert first.position <= await archive.archived_to()
    assert [each.version for each in others] == [first.version + 1]


async def test_who_reads_while_a_partition_comes_back_reads_its_events(
    system: System, archive: Archive
) -> None:
    (who, *_) = await old_customers(system, 1)
    whole = [each async for each in log_of(system).stream("default", who)]
    await archive.archive()
    log = EventLog(Attaching(system.postgres, archive), VAULT)
    assert [each async for each in log.folding("default", who)] == whole
