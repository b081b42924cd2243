"""Added projections on a real log: the documented example, and modules made to go wrong."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from projections.checkpoint import LOG_PARTITION, Move
from projections.customers import incoming
from projections.derived import Derived, drop_version, load_modules, made_tables, make_tables
from projections.derived.fold import fold
from projections.store import CheckpointLost, Contended
from service.cli import epochs
from service.errors import ConfigurationError, RightMissing
from service.event_log import EventLog
from service.events import CustomerDeleted, CustomerTagged, OrderRecorded
from service.migrations import migrate
from service.postgres import Postgres
from tests.support.derived import (
    MODULE,
    Added,
    a_history_of_sales,
    expected_gaps,
    shown_gaps,
    write_example,
)
from tests.support.histories import an_order
from tests.support.logs import a_change, a_creation
from tests.support.parking import a_customer, mend, spoil, tag
from tests.support.projections import (
    Projected,
    append_history,
    projected,
    recorded_events,
    running,
)
from tests.support.topics import eventually
from tests.support.users import users_of

TAGS = """
from typing import NamedTuple
from service.events import CustomerTagged
NAME, VERSION = "tags", 1
class Row(NamedTuple):
    number: int
def evolve(row, event, time):
    if not isinstance(event, CustomerTagged):
        return row
    if "bad" in event.tags:
        raise AttributeError("a mistake of the module's")
    return Row((row.number if row else 0) + 1)
"""
TAGS_SQL = """
CREATE TABLE derived.tags_v1 (customer_id text PRIMARY KEY, tenant text NOT NULL,
                              number integer NOT NULL CHECK (number < 3));
"""
Loading = Callable[..., Derived]


@pytest.fixture
async def world(database: str) -> AsyncIterator[Projected]:
    async with projected(database) as made:
        yield made


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loading]:
    """A module from its text, as the setting would load it; the documented one without a text."""
    monkeypatch.syspath_prepend(str(tmp_path))
    loaded: list[str] = []

    def load(python: str | None = None, sql: str = TAGS_SQL) -> Derived:
        name = MODULE if python is None else f"module_{len(loaded)}"
        if python is None:
            write_example(tmp_path)
        else:
            (tmp_path / f"{name}.py").write_text(python)
            (tmp_path / f"{name}.sql").write_text(sql)
        loaded.append(name)
        return next(iter(load_modules([name]).values()))

    yield load
    for name in loaded:
        sys.modules.pop(name, None)


@pytest.fixture
async def example(world: Projected, load: Loading) -> Added:
    added = Added(world, load())
    await make_tables(world.postgres, [added.derived])
    return added


@pytest.fixture
async def tags(world: Projected, load: Loading) -> Added:
    added = Added(world, load(TAGS))
    await make_tables(world.postgres, [added.derived])
    return added


async def numbers(added: Added) -> dict[str, int]:
    rows = await added.world.postgres.fetch(
        lambda *row: row, "SELECT customer_id, number FROM derived.tags_v1 ORDER BY customer_id"
    )
    return dict(rows)


async def try_again(added: Added) -> None:
    """All who wait, as a worker does from when it starts."""
    after: str | None = ""
    while after is not None:
        after = await added.applier().retry_parked(after)


async def sell(added: Added, seed: int, *, steps: int = 300, prefix: str = "") -> None:
    history = a_history_of_sales(Random(seed), steps=steps, customers=20, deletion_share=0.02)
    await append_history(added.world.appender, history, prefix=prefix)


async def assert_exact(added: Added) -> None:
    expected = expected_gaps(await recorded_events(added.world.postgres))
    assert len([each for each in expected if each.days is not None]) > 3
    assert await shown_gaps(added.world.postgres) == expected


@pytest.mark.parametrize("batch_events_max", [1, 7, 2_000])
async def test_the_documented_example_shows_what_the_log_says(
    batch_events_max: int, example: Added
) -> None:
    await sell(example, 1)
    async with running(example.runner(batch_events_max=batch_events_max)):
        await eventually(example.is_up_to_date)
        await sell(example, 2, steps=100, prefix="later_")
        await eventually(example.is_up_to_date)
    await assert_exact(example)


async def test_it_goes_on_under_the_name_that_a_restored_log_gets(example: Added) -> None:
    await sell(example, 5)
    async with running(example.runner()):
        await eventually(example.is_up_to_date)
    await epochs._begin(example.world.postgres)
    await sell(example, 6, steps=100, prefix="later_")
    async with running(example.runner()):
        await eventually(example.is_up_to_date)
    await assert_exact(example)


async def test_workers_that_race_and_die_lose_and_double_nothing(example: Added) -> None:
    await sell(example, 3)
    for _ in range(6):
        workers = [asyncio.create_task(example.runner(batch_events_max=9).run()) for _ in range(2)]
        before = await example.checkpoints.position()

        async def has_moved(before: int = before) -> bool:
            return await example.checkpoints.position() > before or await example.is_up_to_date()

        await eventually(has_moved)
        for worker in workers:
            worker.cancel()  # wherever it is
        await asyncio.gather(*workers, return_exceptions=True)
    async with running(example.runner(), example.runner()):
        await eventually(example.is_up_to_date)
    await assert_exact(example)


async def test_a_worker_that_was_overtaken_writes_nothing(tags: Added) -> None:
    jane = await a_customer(tags.world, tags=2)
    epoch = (await EventLog(tags.world.postgres).head()).epoch
    places = await tags.checkpoints.take_over({LOG_PARTITION}, epoch)
    page = await tags.page()
    move = Move(places[LOG_PARTITION], page[-1].position, 0, page[-1].time)
    await tags.applier().apply(page, [move])
    await tag(tags.world, jane, 3)
    with pytest.raises(CheckpointLost):
        await tags.applier().apply((await tags.page())[-1:], [move])
    assert await numbers(tags) == {jane: 2}


async def test_what_the_feed_lacks_or_repeats_is_read_from_the_log_and_ignored(
    example: Added,
) -> None:
    await sell(example, 4, steps=150)
    page = await example.page()
    choose = Random(4)
    await example.applier().apply([each for each in page if choose.random() < 0.5], [])
    assert example.world.observed.bridged > 0
    await example.applier().apply(page, [])
    assert example.world.observed.repeats > 0
    await assert_exact(example)


async def test_poison_parks_one_customer_until_a_worker_starts_that_can_read_it(
    example: Added,
) -> None:
    world = example.world
    jane = await a_customer(world, tags=1, orders=2)
    joe = await a_customer_of(world, "joe@example.com", orders=2)
    await spoil(world.postgres, jane, 3)
    async with running(example.runner()):
        await eventually(example.is_up_to_date)
        assert await example.parked() == [(jane, 3, "unknown_type")]
        assert [each.customer_id for each in await shown_gaps(world.postgres)] == [joe]
        late = OrderRecorded(order=an_order("ord_9", 1, total=100))
        await world.appender.append(a_change(jane, 4, late))
        await eventually(example.is_up_to_date)
        assert [each.customer_id for each in await shown_gaps(world.postgres)] == [joe]
        assert await example.parked() == [(jane, 3, "unknown_type")]
    await mend(world.postgres)
    async with running(example.runner()):

        async def nobody_waits() -> bool:
            return await example.parked() == []

        await eventually(nobody_waits)
    gaps = await shown_gaps(world.postgres)
    assert gaps == expected_gaps(await recorded_events(world.postgres))
    assert {each.customer_id for each in gaps} == {jane, joe}


async def a_customer_of(world: Projected, email: str, *, orders: int) -> str:
    creation = a_creation(email)
    await world.appender.append(creation)
    for number in range(orders):
        event = OrderRecorded(order=an_order(f"{email} {number}", 1, total=100))
        await world.appender.append(a_change(creation.customer_id, 1 + number, event))
    return creation.customer_id


async def test_a_mistake_of_the_module_stops_nobody_else(tags: Added) -> None:
    world = tags.world
    jane = await a_customer(world, tags=1)
    bad = CustomerTagged(tags=("bad",))
    await world.appender.append(a_change(jane, 2, bad))
    await tag(world, jane, 3)
    other = a_creation("joe@example.com")
    await world.appender.append(other)
    await tag(world, other.customer_id, 1)
    async with running(tags.runner()):
        await eventually(tags.is_up_to_date)
    assert await tags.parked() == [(jane, 3, "impossible")]
    assert await numbers(tags) == dict(sorted({jane: 1, other.customer_id: 1}.items()))


async def test_a_row_that_the_database_refuses_stops_nobody_else(tags: Added) -> None:
    world = tags.world
    jane = await a_customer(world, tags=4)
    other = a_creation("joe@example.com")
    await world.appender.append(other)
    await tag(world, other.customer_id, 1, 2)
    async with running(tags.runner()):
        await eventually(tags.is_up_to_date)
    assert await tags.parked() == [(jane, 4, "refused")]
    assert await numbers(tags) == dict(sorted({jane: 2, other.customer_id: 2}.items()))
    # A retry meets the same end, and changes nothing.
    await try_again(tags)
    assert await tags.parked() == [(jane, 4, "refused")]
    await world.postgres.execute("ALTER TABLE derived.tags_v1 DROP CONSTRAINT tags_v1_number_check")
    await try_again(tags)
    assert await tags.parked() == []
    assert (await numbers(tags))[jane] == 4


async def test_a_deletion_takes_the_row_of_who_waits_too(tags: Added) -> None:
    world = tags.world
    jane = await a_customer(world, tags=4)
    async with running(tags.runner()):
        await eventually(tags.is_up_to_date)
        assert await numbers(tags) == {jane: 2}
        deletion = a_change(jane, 5, CustomerDeleted())
        await world.appender.append(deletion._replace(closes_stream=True))
        await eventually(tags.is_up_to_date)
    assert await numbers(tags) == {}
    assert await tags.parked() == []
    rows = await world.postgres.fetch(
        lambda *row: row, "SELECT place, held, readable FROM read_model.derived_rows($1)", jane
    )
    assert rows == [("derived.reached", 1, 0), ("derived.tags_v1", 0, 0)]


async def test_what_was_passed_over_meanwhile_keeps_a_customer_parked(tags: Added) -> None:
    """One has read what it is going to release; another hears of one more event, and passes it."""
    world = tags.world
    jane = await a_customer(world, tags=2)
    await spoil(world.postgres, jane, 2)
    await tags.applier().apply(await tags.page(), [])
    await mend(world.postgres)
    held = (await tags.store().read([jane]))[jane]
    events = [incoming(each) for each in await tags.page()]
    release = fold(tags.derived.evolve, events, held, is_retry=True)
    assert not release.after.is_parked
    await tag(world, jane, 3)
    await tags.applier().apply((await tags.page())[-1:], [])
    with pytest.raises(Contended):
        await tags.store().write([release], [])
    await world.postgres.execute("ALTER TABLE derived.tags_v1 DROP CONSTRAINT tags_v1_number_check")
    await try_again(tags)
    assert (await numbers(tags), await tags.parked()) == ({jane: 3}, [])


async def test_a_table_is_made_once_and_another_shape_needs_another_version(
    world: Projected, load: Loading
) -> None:
    first = load(TAGS)
    assert await make_tables(world.postgres, [first]) == ["tags_v1"]
    assert await make_tables(world.postgres, [first]) == []
    changed = load(TAGS.replace("number: int", "number: int = 0"), TAGS_SQL + "-- changed\n")
    with pytest.raises(ConfigurationError, match="raise VERSION"):
        await make_tables(world.postgres, [changed])
    with pytest.raises(ConfigurationError, match="raise VERSION"):
        await Added(world, changed).runner().run()
    second = load(TAGS.replace('"tags", 1', '"tags", 2'), TAGS_SQL.replace("v1", "v2"))
    assert await make_tables(world.postgres, [second]) == ["tags_v2"]
    made = [(each.name, each.version) for each in await made_tables(world.postgres)]
    assert made == [("tags", 1), ("tags", 2)]


@pytest.mark.parametrize(
    "sql",
    [
        TAGS_SQL.replace("tags_v1", "tag_v1"),
        TAGS_SQL.replace(" PRIMARY KEY", ""),
        TAGS_SQL.replace("number", "amount"),
        "CREATE TABLE derived.tags_v1",
    ],
)
async def test_a_table_that_cannot_be_used_is_not_made(
    sql: str, world: Projected, load: Loading
) -> None:
    with pytest.raises(ConfigurationError, match="has to make the table"):
        await make_tables(world.postgres, [load(TAGS, sql)])
    tables = await world.postgres.fetch(
        str, "SELECT tablename FROM pg_tables WHERE schemaname = 'derived' ORDER BY 1"
    )
    assert tables == ["projection", "reached"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("NAME, VERSION =", "NAME, VERSIONS ="),
        ('"tags"', '"customers"'),
        ('"tags"', '"Tags"'),
        ('"tags", 1', '"tags", 0'),
        ("(NamedTuple)", ""),
    ],
)
def test_a_module_that_is_not_whole_is_refused(old: str, new: str, load: Loading) -> None:
    with pytest.raises(ConfigurationError):
        load(TAGS.replace(old, new))


async def test_a_worker_has_the_rights_it_needs_and_no_more(database: str, tags: Added) -> None:
    await migrate(database)
    jane = await a_customer(tags.world, tags=2)
    async with users_of(database) as users:
        async with Postgres.connect(users["customers_projections"]) as postgres:
            async with running(tags.runner(postgres)):
                await eventually(tags.is_up_to_date)
            for statement in (
                "DROP TABLE derived.tags_v1",
                "SELECT derived.drop_version('tags', 1)",
            ):
                with pytest.raises(RightMissing):
                    await postgres.execute(statement)
        for role in ("customers_api", "customers_relay", "customers_intake"):
            async with Postgres.connect(users[role]) as postgres:
                with pytest.raises(RightMissing):
                    await postgres.execute("SELECT number FROM derived.tags_v1")
    assert await numbers(tags) == {jane: 2}


async def test_what_is_dropped_leaves_nothing_and_can_be_built_again(tags: Added) -> None:
    world = tags.world
    jane = await a_customer(world, tags=4)
    async with running(tags.runner()):
        await eventually(tags.is_up_to_date)
    assert await tags.parked() != []
    assert await drop_version(world.postgres, "tags", 1)
    assert not await drop_version(world.postgres, "tags", 1)
    assert (await tags.parked(), await tags.checkpoints.position()) == ([], 0)
    assert await world.postgres.fetch(str, "SELECT customer_id FROM derived.reached") == []
    await make_tables(world.postgres, [tags.derived])
    async with running(tags.runner()):
        await eventually(tags.is_up_to_date)
    assert await numbers(tags) == {jane: 2}
