"""Whoever takes a partition away, or brings one back, and stands still meanwhile: the database ends
it, others go on, and it tries again."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import pytest

from service.customer import AddTags
from service.errors import ConnectionLost, Unavailable
from service.event_log import EventLog
from service.events import Position
from service.identifiers import CustomerId
from service.log_archive import hold_upkeep, upkeep
from service.postgres import Postgres, Transaction
from tests.servers.server import Handle
from tests.support.archiving import POSITIONS, Archive, old_customers, small_partitions, stored
from tests.support.logs import a_request
from tests.support.topics import eventually
from tests.support.vaults import VAULT
from tests.support.verifying import System, a_system

WAIT_SECONDS_MAX = 4.0  # for who waits behind it; far less than the 8 that a write may take
APPEND_LOCKS = """
SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database
WHERE datname = current_database() AND locktype = 'advisory' AND objid = 7305002
"""
END_UPKEEP = """
SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_database ON pg_database.oid = database
WHERE datname = current_database() AND locktype = 'advisory' AND objid = 7305010 AND granted
"""
STOPPED = """
import asyncio, os, signal, sys
from pathlib import Path
from service.log_archive.upkeep import SQL
from service.postgres import Postgres, Transaction
from tests.support.archiving import Archive

original = Transaction.execute
stops = [SQL["lock_to_archive"]]

async def stopping(self, sql, *arguments):
    done = await original(self, sql, *arguments)
    if sql in stops:
        stops.clear()
        os.kill(os.getpid(), signal.SIGSTOP)
    return done

async def archive():
    async with Postgres.connect(sys.argv[1]) as postgres:
        await Archive(postgres, Path(sys.argv[2])).archive()

Transaction.execute = stopping
asyncio.run(archive())
"""


@pytest.fixture
async def system(database: str, kafka_server: Handle, topic_suffix: str) -> AsyncIterator[System]:
    async with a_system(database, kafka_server, topic_suffix) as made:
        await small_partitions(made.postgres)
        yield made


@pytest.fixture
def archive(system: System, tmp_path: Path) -> Archive:
    return Archive(system.postgres, tmp_path)


class Rest:
    """Of the first who comes to a statement: behind it, in the midst of a transaction."""

    def __init__(self) -> None:
        self.is_reached = asyncio.Event()
        self.is_over = asyncio.Event()


@contextmanager
def resting_after(statement: str) -> Iterator[Rest]:
    rest, original = Rest(), Transaction.execute

    async def execute(self: Transaction, sql: str, *arguments: object) -> str:
        done = await original(self, sql, *arguments)
        if sql == statement and not rest.is_reached.is_set():
            rest.is_reached.set()
            await rest.is_over.wait()
        return done

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Transaction, "execute", execute)
        try:
            yield rest
        finally:
            rest.is_over.set()


async def others_go_on(system: System, who: CustomerId, tag: str) -> None:
    """A write and a read of the log."""
    started = monotonic()
    await system.handler.handle(a_request(who, AddTags((tag,))))
    await EventLog(system.postgres, VAULT).page(Position(0))
    assert monotonic() - started < WAIT_SECONDS_MAX


@pytest.mark.parametrize("step", ["lock_to_archive", "add_archived"])
async def test_archiving_that_stands_still_holds_up_nobody_and_goes_on(
    step: str, system: System, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "PAUSE_SECONDS", 0.01)
    (who, *_) = await old_customers(system, 1)
    before = await stored(system.postgres)
    with resting_after(upkeep.SQL[step]) as rest:
        archiving = asyncio.create_task(archive.archive())
        await rest.is_reached.wait()
        await others_go_on(system, who, "meanwhile")
        assert await archive.archived_to() == 0
        assert (await stored(system.postgres))[: len(before)] == before
        rest.is_over.set()
        await archiving
    assert await archive.archived_to() == POSITIONS - 1
    assert (await stored(system.postgres))[: len(before) - POSITIONS + 1] == before[POSITIONS - 1 :]
    await archive.attach()
    assert (await stored(system.postgres))[: len(before)] == before


async def test_archiving_that_stands_still_before_its_commit_is_run_again(
    system: System, archive: Archive
) -> None:
    """Whether it was done is not known then, so it is not tried again by itself."""
    (who, *_) = await old_customers(system, 1)
    before = await stored(system.postgres)
    with resting_after(upkeep.SQL["drop_partition"]) as rest:
        archiving = asyncio.create_task(archive.archive())
        await rest.is_reached.wait()
        await others_go_on(system, who, "meanwhile")
        rest.is_over.set()
        with pytest.raises(ConnectionLost, match="did not answer"):
            await archiving
    assert await archive.archived_to() == 0
    assert (await stored(system.postgres))[: len(before)] == before
    await archive.archive()
    assert await archive.archived_to() == POSITIONS - 1


async def test_attaching_that_stands_still_holds_up_nobody_and_goes_on(
    system: System, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "PAUSE_SECONDS", 0.01)
    (who, *_) = await old_customers(system, 1)
    before = await stored(system.postgres)
    await archive.archive()
    with resting_after(upkeep.SQL["attach_partition"]) as rest:
        attaching = asyncio.create_task(archive.attach())
        await rest.is_reached.wait()
        started = monotonic()
        await system.handler.handle(a_request(who, AddTags(("meanwhile",))))
        assert monotonic() - started < WAIT_SECONDS_MAX
        assert await archive.archived_to() == POSITIONS - 1
        rest.is_over.set()
        await attaching
    assert await archive.archived_to() == 0
    assert (await stored(system.postgres))[: len(before)] == before


async def test_a_stopped_process_that_archives_holds_up_nobody_and_goes_on(
    system: System, archive: Archive, database: str
) -> None:
    """By SIGSTOP, as a machine that sleeps: it learns of nothing until it wakes."""
    (who, *_) = await old_customers(system, 1)
    before = await stored(system.postgres)
    arguments = sys.executable, "-c", STOPPED, database, str(archive.folder)
    child = await asyncio.create_subprocess_exec(*arguments, stderr=asyncio.subprocess.PIPE)
    try:
        await eventually(lambda: is_stopped(child.pid))
        await others_go_on(system, who, "meanwhile")
        assert await archive.archived_to() == 0
        child.send_signal(signal.SIGCONT)
        _, said = await asyncio.wait_for(child.communicate(), 30)
    finally:
        if child.returncode is None:
            child.kill()
    assert child.returncode == 0, said.decode()
    assert await archive.archived_to() == POSITIONS - 1
    assert (await stored(system.postgres))[: len(before) - POSITIONS + 1] == before[POSITIONS - 1 :]


async def is_stopped(process_id: int) -> bool:
    told = await asyncio.to_thread(
        os.waitid, os.P_PID, process_id, os.WSTOPPED | os.WNOHANG | os.WNOWAIT
    )
    return told is not None


async def test_who_always_stands_still_is_told(
    system: System, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As over a link that is too slow; and nothing is half done."""
    monkeypatch.setattr(upkeep, "ATTEMPTS_MAX", 2)
    monkeypatch.setattr(upkeep, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr("service.postgres.pool.REST_MS_MAX", 20)
    await old_customers(system, 1)
    before, original = await stored(system.postgres), Transaction.execute

    async def execute(self: Transaction, sql: str, *arguments: object) -> str:
        done = await original(self, sql, *arguments)
        if sql == upkeep.SQL["lock_to_archive"]:
            await eventually(lambda: is_let_go(system.postgres))
        return done

    monkeypatch.setattr(Transaction, "execute", execute)
    with pytest.raises(Unavailable, match="In 2 attempts"):
        await archive.archive()
    assert (await archive.archived_to(), await stored(system.postgres)) == (0, before)


async def is_let_go(postgres: Postgres) -> bool:
    return await postgres.fetch_one(int, APPEND_LOCKS) == 0


async def test_whoever_lost_the_upkeep_takes_nothing_away(
    system: System, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it stood still: somebody else may be at work since, so each attempt asks first."""
    monkeypatch.setattr(upkeep, "PAUSE_SECONDS", 0.01)
    await old_customers(system, 1)
    before = await stored(system.postgres)
    with resting_after(upkeep.SQL["lock_to_archive"]) as rest:
        archiving = asyncio.create_task(archive.archive())
        await rest.is_reached.wait()
        assert await system.postgres.fetch_one(bool, END_UPKEEP)
        await eventually(lambda: is_let_go(system.postgres))
        async with hold_upkeep(system.postgres):
            rest.is_over.set()
            with pytest.raises(Unavailable):
                await archiving
            assert (await archive.archived_to(), await stored(system.postgres)) == (0, before)
