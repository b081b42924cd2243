"""Who waits in an added projection: found in few statements, tried again beside everybody else."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from typing_extensions import override

from projections.derived import DerivedSource, load_modules, make_tables
from projections.log_feed import LogSource
from service.event_log import EventLog
from service.events import CustomerTagged
from service.identifiers import CustomerId
from service.postgres import Postgres
from tests.integration.test_derived import TAGS, TAGS_SQL, numbers
from tests.support.derived import Added
from tests.support.logs import a_change
from tests.support.parking import a_customer, mend, spoil, tag
from tests.support.projections import Projected, projected, running
from tests.support.topics import eventually
from tests.support.vaults import VAULT

WITHOUT_LIMIT = "ALTER TABLE derived.tags_v1 DROP CONSTRAINT tags_v1_number_check"
HOLD = "SELECT FROM derived.reached WHERE projection = 'tags' AND customer_id = $1 FOR UPDATE"
IS_HELD = """
SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'
AND datname = current_database() AND query LIKE '%derived.apply%'
"""


@asynccontextmanager
async def tags_over(world: Projected, folder: Path) -> AsyncIterator[Added]:
    """A module that counts tags, fails on one and stores no more than two, and its table."""
    (folder / "tags.py").write_text(TAGS)
    (folder / "tags.sql").write_text(TAGS_SQL)
    sys.path.insert(0, str(folder))
    try:
        added = Added(world, load_modules(["tags"])["tags"])
        await make_tables(world.postgres, [added.derived])
        yield added
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop("tags", None)


@pytest.fixture
async def tags(database: str, tmp_path: Path) -> AsyncIterator[Added]:
    async with projected(database) as world, tags_over(world, tmp_path) as added:
        yield added


class Counting(Postgres):
    """How many statements it was told to carry out, each a transaction of its own."""

    executed = 0

    @override
    async def execute(self, sql: str, *arguments: object) -> str:
        self.executed += 1
        return await super().execute(sql, *arguments)


def a_source(added: Added) -> DerivedSource:
    """What a process has one of."""
    postgres = added.world.postgres
    source = LogSource(postgres, EventLog(postgres, VAULT), added.checkpoints)
    return DerivedSource(source, added.store(), added.applier())


async def park(added: Added, customers: int) -> list[CustomerId]:
    """So many, by id, each with an event that no release can read, and one after it."""
    emails = [f"waiting{number}@example.com" for number in range(customers)]
    waiting = [await a_customer(added.world, tags=2, email=email) for email in emails]
    for each in waiting:
        await spoil(added.world.postgres, each, 2)
    async with running(added.runner()):
        await eventually(added.is_up_to_date)
    assert await who_waits(added) == sorted(waiting)
    return sorted(waiting)


async def who_waits(added: Added) -> list[str]:
    return [customer_id for customer_id, *_ in await added.parked()]


async def test_who_waits_is_tried_again_between_batches_wherever_the_feed_breaks(
    tags: Added, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projections.derived.applier.PARKED_AT_ONCE_MAX", 2)
    waiting = await park(tags, 5)
    await mend(tags.world.postgres)
    source = a_source(tags)
    async with source.open() as feed:
        assert await who_waits(tags) == waiting
        await feed.next()
        assert await who_waits(tags) == waiting[2:]
    async with source.open() as feed:
        assert await who_waits(tags) == waiting[2:]
        for still_waiting in (waiting[4:], []):
            await feed.next()
            assert await who_waits(tags) == still_waiting
    assert await numbers(tags) == dict.fromkeys(waiting, 2)


async def test_who_waits_is_tried_again_once_however_often_the_feed_breaks(tags: Added) -> None:
    waiting = await park(tags, 2)
    source = a_source(tags)
    for _ in range(2):
        async with source.open() as feed:
            await feed.next()
            await feed.next()
            await mend(tags.world.postgres)
    assert await who_waits(tags) == waiting
    async with a_source(tags).open() as feed:  # as in another process
        await feed.next()
    assert await who_waits(tags) == []


async def test_neither_others_nor_a_stop_wait_for_those_who_are_tried_again(
    tags: Added, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projections.derived.applier.PARKED_AT_ONCE_MAX", 1)
    first, second, third = await park(tags, 3)
    await mend(tags.world.postgres)
    joe = await a_customer(tags.world, tags=1, email="joe@example.com")

    async def is_held() -> bool:
        return bool(await tags.world.postgres.fetch_one(int, IS_HELD))

    runner = tags.runner()
    async with asyncio.TaskGroup() as tasks, tags.world.postgres.transaction() as transaction:
        await transaction.execute(HOLD, second)
        tasks.create_task(runner.run())
        await eventually(is_held)
        assert await numbers(tags) == {first: 2, joe: 1}
        runner.stop()
    assert await who_waits(tags) == [third]


async def test_a_long_stream_is_gone_through_a_page_at_a_time(
    tags: Added, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projections.derived.applier.STREAM_EVENTS_MAX", 2)
    await tags.world.postgres.execute(WITHOUT_LIMIT)
    jane, kim = await park(tags, 2)
    await tag(tags.world, jane, 3, 3)
    async with running(tags.runner()):
        await eventually(tags.is_up_to_date)
    await mend(tags.world.postgres)
    applier = tags.applier()
    assert await applier.retry_parked("") == ""
    assert (await numbers(tags), await who_waits(tags)) == ({jane: 2, kim: 2}, [jane])
    assert await applier.retry_parked("") == ""
    assert (await numbers(tags), await who_waits(tags)) == ({jane: 4, kim: 2}, [jane])
    assert await applier.retry_parked("") == jane
    assert (await numbers(tags), await who_waits(tags)) == ({jane: 5, kim: 2}, [])
    assert await applier.retry_parked("") is None


async def test_who_stays_where_it_waits_is_neither_counted_nor_logged_again(tags: Added) -> None:
    world, bad = tags.world, CustomerTagged(tags=("bad",))
    jane = await a_customer(world, tags=1)  # an event that fails, once the one before is mended
    await spoil(world.postgres, jane, 2)
    await world.appender.append(a_change(jane, 2, bad))
    kim = await a_customer(world, tags=4, email="kim@example.com")  # too many for the table
    with capture_logs() as logs:
        async with running(tags.runner()):
            await eventually(tags.is_up_to_date)
        assert sorted(world.observed.reasons) == ["refused", "unknown_type"]
        repeats = world.observed.repeats
        await mend(world.postgres)
        for _ in range(3):  # starts
            async with a_source(tags).open() as feed:
                await feed.next()
                await feed.next()
    assert set(await tags.parked()) == {(jane, 3, "impossible"), (kim, 4, "refused")}
    assert sorted(world.observed.reasons) == ["impossible", "refused", "unknown_type"]
    assert [each["position"] for each in logs if each["event"] == "evolve_failed"] == [3]
    assert world.observed.repeats == repeats


async def test_a_row_that_is_refused_is_found_by_halves(database: str, tags: Added) -> None:
    emails = [f"c{number}@example.com" for number in range(64)]
    shown = [await a_customer(tags.world, tags=1, email=email) for email in emails]
    jane = await a_customer(tags.world, tags=4)
    async with Counting.connect(database) as postgres:
        assert isinstance(postgres, Counting)
        await tags.applier(postgres).apply(await tags.page(), [])
        assert postgres.executed < 25
    assert await tags.parked() == [(jane, 4, "refused")]
    assert await numbers(tags) == dict.fromkeys(shown, 1) | {jane: 2}
