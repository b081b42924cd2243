"""The read model built anew beside the one that is read: the same rows, whatever happens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, MutableMapping
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from structlog.testing import capture_logs

from projections.checkpoint import CUSTOMERS, LOG_PARTITION, Checkpoints
from projections.kept import Kept
from projections.rebuild import drop, fill, filled, finish, flip, unfinished
from projections.versions import Version, active, versions
from service.errors import ConfigurationError, Unavailable
from service.event_log import Appended, EventLog
from service.events import CustomerDeleted
from service.identifiers import CustomerId
from tests.support.logs import a_change
from tests.support.parking import a_customer, mend, parked, spoil, stale
from tests.support.projections import (
    Projected,
    a_history,
    append_history,
    projected,
    running,
    shown,
)
from tests.support.rebuilding import (
    begun,
    built,
    caught_up,
    compared,
    fed,
    fill_all,
    gone_over,
)
from tests.support.topics import eventually
from tests.support.vaults import VAULT

SHAPES = {
    "columns": """
SELECT relname, attname, atttypid::regtype, atttypmod, attnotnull, attcollation,
       attstattarget, attidentity, pg_get_expr(adbin, adrelid)
FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE relnamespace = $1::regnamespace AND relkind = 'r' AND attnum > 0 AND NOT attisdropped
ORDER BY relname, attnum""",
    "tables": """
SELECT relname, relkind, reloptions, relacl::text FROM pg_class
WHERE relnamespace = $1::regnamespace ORDER BY relname""",
    "constraints": """
SELECT conrelid::regclass::text, conname, contype, pg_get_constraintdef(oid) FROM pg_constraint
WHERE connamespace = $1::regnamespace AND contype <> 'n' ORDER BY 1, 2""",
    "indexes": """
SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = $1 ORDER BY 1""",
    "functions": """
SELECT proname, pg_get_functiondef(oid), proacl::text FROM pg_proc
WHERE pronamespace = $1::regnamespace ORDER BY 1""",
    "schema": "SELECT nspacl::text FROM pg_namespace WHERE nspname = $1",
}

TAKE_OUTDATED = "DELETE FROM projection.outdated_state RETURNING customer_id"


@pytest.fixture
async def world(database: str) -> AsyncIterator[Projected]:
    async with projected(database) as made:
        yield made


async def _shape(world: Projected, what: str, number: int) -> list[str]:
    rows = await world.postgres.fetch(lambda *row: row, SHAPES[what], f"customers_v{number}")
    own = (f"customers_v{number}", "{schema}"), (f"version = {number}", "version = {version}")
    told = [repr(row) for row in rows]
    for mine, general in own:
        told = [each.replace(mine, general) for each in told]
    return told


async def test_a_version_has_the_shape_that_the_migrations_make(world: Projected) -> None:
    build = await built(world.postgres)
    for what in SHAPES:
        made = await _shape(world, what, build.version)
        assert made == await _shape(world, what, 1), what
        assert made


@pytest.mark.parametrize("seed", range(3))
async def test_what_is_built_is_what_the_streams_fold_to(world: Projected, seed: int) -> None:
    choose = Random(seed)
    for part in range(2):
        history = a_history(choose, steps=150, customers=12, deletion_share=0.03)
        await append_history(world.appender, history, prefix=f"part{part}_")
    await world.catch_up()
    build = await built(world.postgres)
    found = await compared(world.postgres, build)
    assert (found.is_equal, found.customers, found.moving, found.parked) == (True, 24, 0, 0)
    await gone_over(world.postgres, build.projection)
    await world.assert_exact()


async def test_pages_that_cut_streams_change_nothing(
    world: Projected, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projections.rebuild.filling.COPY_BYTES_MAX", 0)
    customer_id = await a_customer(world, tags=30, orders=5)
    await append_history(world.appender, a_history(Random(4), steps=60))
    await world.catch_up()
    build = await begun(world.postgres)
    await fill_all(world.postgres, build, page_events_max=2)
    await finish(world.postgres, build)
    await gone_over(world.postgres, build.projection)
    assert customer_id in (await shown(world.postgres)).customers
    await world.assert_exact()


async def test_a_build_that_is_killed_again_and_again_goes_on(world: Projected) -> None:
    await append_history(world.appender, a_history(Random(7), steps=400, customers=40))
    await world.catch_up()
    build, choose = await begun(world.postgres), Random(8)
    while (await filled(world.postgres, build)).ranges_left:
        filling = asyncio.create_task(fill_all(world.postgres, build))
        await asyncio.wait([filling], timeout=choose.random() / 20)
        filling.cancel()
        await asyncio.wait([filling])
    assert await unfinished(world.postgres) == build
    await finish(world.postgres, build)
    await finish(world.postgres, build)
    await gone_over(world.postgres, build.projection)
    assert await unfinished(world.postgres) is None
    await world.assert_exact()


async def test_a_range_is_filled_by_one_of_several(world: Projected) -> None:
    await append_history(world.appender, a_history(Random(9), steps=300, customers=30))
    await world.catch_up()
    build = await begun(world.postgres)
    await asyncio.gather(*(fill_all(world.postgres, build) for _ in range(3)))
    await finish(world.postgres, build)
    await gone_over(world.postgres, build.projection)
    await world.assert_exact()


async def test_who_stops_leaves_the_rest_to_others(world: Projected) -> None:
    await append_history(world.appender, a_history(Random(9), steps=100, customers=30))
    build = await begun(world.postgres)
    first = await filled(world.postgres, build)
    answers = iter([True, False])
    await fill(world.postgres, VAULT, build, lambda: next(answers))
    assert (await filled(world.postgres, build)).ranges_left == first.ranges_left - 1


async def test_writing_goes_on_while_it_is_built_and_gone_over_to(world: Projected) -> None:
    await append_history(world.appender, a_history(Random(1), steps=100), prefix="a_")
    async with running(*(world.runner(batch_events_max=5) for _ in range(2))):
        history = a_history(Random(2), steps=400, customers=20, deletion_share=0.02)
        writing = asyncio.create_task(append_history(world.appender, history))
        build = await built(world.postgres)
        async with fed(world.postgres, build.projection):
            assert (await compared(world.postgres, build)).is_equal
            await flip(world.postgres, CUSTOMERS, build.projection)
        more = a_history(Random(3), steps=50)
        await append_history(world.appender, more, prefix="after_")
        await writing
        await eventually(world.is_up_to_date)
    assert world.served.version == build.version
    await world.assert_exact()
    assert await versions(world.postgres) == [Version(1, "kept"), Version(2, "active")]


async def test_the_way_back_and_forth_shows_everything(world: Projected) -> None:
    await append_history(world.appender, a_history(Random(1), steps=80), prefix="a_")
    await world.catch_up()
    build = await built(world.postgres)
    await gone_over(world.postgres, build.projection)
    await append_history(world.appender, a_history(Random(2), steps=80), prefix="b_")
    await world.catch_up()
    await gone_over(world.postgres, CUSTOMERS)
    await world.assert_exact()
    await append_history(world.appender, a_history(Random(3), steps=80), prefix="c_")
    await world.catch_up()
    await gone_over(world.postgres, build.projection)
    await world.assert_exact()
    await drop(world.postgres, CUSTOMERS.version)
    assert await versions(world.postgres) == [Version(2, "active")]
    await append_history(world.appender, a_history(Random(4), steps=80), prefix="d_")
    await world.catch_up()
    await world.assert_exact()
    assert (await built(world.postgres)).version == 3


async def test_what_is_kept_is_kept_up_to_date_until_it_is_dropped(
    world: Projected, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projections.kept.LOOK_SECONDS", 0.05)
    await append_history(world.appender, a_history(Random(1), steps=50))
    await world.catch_up()
    build = await built(world.postgres)
    keeper = Kept(world.postgres, EventLog(world.postgres, VAULT), default_currency="USD")
    async with asyncio.TaskGroup() as group:
        group.create_task(keeper.run())
        await caught_up(world.postgres, build.projection)
        await flip(world.postgres, CUSTOMERS, build.projection)
        await append_history(world.appender, a_history(Random(2), steps=50), prefix="b_")
        await caught_up(world.postgres, CUSTOMERS)
        await world.catch_up()
        await drop(world.postgres, CUSTOMERS.version)
        await append_history(world.appender, a_history(Random(3), steps=50), prefix="c_")
        await world.catch_up()
        keeper.stop()
    await world.assert_exact()


async def test_it_is_told_that_what_is_kept_cannot_be_kept_up_to_date(
    world: Projected, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projections.kept.LOOK_SECONDS", 0.05)
    await append_history(world.appender, a_history(Random(1), steps=50))
    await world.catch_up()
    build = await built(world.postgres)
    await append_history(world.appender, a_history(Random(2), steps=50), prefix="b_")
    await world.postgres.execute("ALTER TABLE customers_v2.customer RENAME TO lost")
    keeper = Kept(world.postgres, EventLog(world.postgres, VAULT), default_currency="USD")
    with capture_logs() as logs:
        async with asyncio.TaskGroup() as group:
            group.create_task(keeper.run())
            await eventually(lambda: _says(logs, "keeping_broke_off"))
            await world.postgres.execute("ALTER TABLE customers_v2.lost RENAME TO customer")
            await caught_up(world.postgres, build.projection)
            keeper.stop()


async def _says(logs: list[MutableMapping[str, Any]], event: str) -> bool:
    return any(each["event"] == event for each in logs)


async def test_the_feed_of_what_is_read_is_not_taken_for_what_is_not(world: Projected) -> None:
    await append_history(world.appender, a_history(Random(1), steps=20))
    await world.catch_up()
    before = await world.checkpoints.places({LOG_PARTITION})
    unread = Checkpoints(world.postgres, replace(CUSTOMERS, is_unread=True))
    with pytest.raises(ConfigurationError, match="version 1 of customers is read"):
        await unread.take_over({LOG_PARTITION}, (await EventLog(world.postgres).head()).epoch)
    assert await world.checkpoints.places({LOG_PARTITION}) == before


async def test_positions_never_go_back(world: Projected) -> None:
    await append_history(world.appender, a_history(Random(1), steps=50))
    await world.catch_up()
    before = await world.checkpoints.position()
    build = await built(world.postgres)
    await gone_over(world.postgres, build.projection)
    await world.served.follow()
    assert await world.checkpoints.position() >= before > 0


async def _delete(world: Projected, customer_id: CustomerId) -> None:
    deletion = a_change(customer_id, 5, CustomerDeleted())._replace(closes_stream=True)
    assert isinstance(await world.appender.append(deletion), Appended)


ALTERED = (
    "UPDATE customers_v1.customer SET document = replace(document, 'Jane', 'Frieda')",
    "UPDATE customers_v1.profile SET is_active = NOT is_active",
    "UPDATE customers_v1.activity SET total_spent = total_spent + 1",
    "UPDATE customers_v1.search SET words = words || 'x'",
    "UPDATE customers_v1.search SET grams[1] = grams[1] + 1",
    "UPDATE customers_v1.search SET grams = grams[2:]",
    "UPDATE customers_v1.search SET grams = grams || grams[1]",
    "DELETE FROM customers_v1.search",
    "DELETE FROM customers_v1.tagged",
    "UPDATE customers_v1.contribution SET amount = amount + 1",
    "UPDATE customers_v1.customer SET version = version - 1",
)


@pytest.mark.parametrize("statement", ALTERED)
async def test_a_row_that_was_altered_is_found(world: Projected, statement: str) -> None:
    await append_history(world.appender, a_history(Random(2), steps=100))
    customer_id = await a_customer(world, tags=2, orders=2)
    await world.catch_up()
    where = "id" if "contribution" not in statement else "customer_id"
    await world.postgres.execute(f"{statement} WHERE {where} = '{customer_id}'")
    build = await built(world.postgres)
    found = await compared(world.postgres, build)
    assert not found.is_equal
    (odd,) = found.odd
    assert (odd.different, odd.named) == (1, [customer_id])


async def test_in_which_order_grams_are_kept_is_no_difference(world: Projected) -> None:
    await append_history(world.appender, a_history(Random(2), steps=50))
    await world.catch_up()
    await world.postgres.execute(
        "UPDATE customers_v1.search"
        " SET grams = ARRAY(SELECT gram FROM unnest(grams) AS gram ORDER BY gram DESC)"
    )
    assert (await compared(world.postgres, await built(world.postgres))).is_equal


async def test_rows_of_nobody_and_missing_rows_are_found(world: Projected) -> None:
    await append_history(world.appender, a_history(Random(2), steps=100))
    customer_id = await a_customer(world, tags=2)
    await world.catch_up()
    await world.postgres.execute(
        "INSERT INTO customers_v1.customer (id, tenant, version, position)"
        " VALUES ('zz', 'default', 1, 1)"
    )
    await world.postgres.execute("DELETE FROM customers_v1.customer WHERE id = $1", customer_id)
    found = await compared(world.postgres, await built(world.postgres))
    assert sorted(name for odd in found.odd for name in odd.named) == sorted([customer_id, "zz"])


async def test_the_topic_of_states_is_told_of_who_differs(world: Projected) -> None:
    customer_id = await a_customer(world, tags=2)
    await append_history(world.appender, a_history(Random(2), steps=50))
    await world.catch_up()
    await world.postgres.execute(
        "UPDATE customers_v1.customer SET document = '{}' WHERE id = $1", customer_id
    )
    await world.postgres.execute(
        "INSERT INTO projection.checkpoint"
        " SELECT 'states', 1, -1, epoch, position, 'topic', 0, now() FROM log.head"
    )
    build = await built(world.postgres)
    assert (await compared(world.postgres, build)).different == 1
    read_before = await active(world.postgres)
    await gone_over(world.postgres, build.projection)
    assert await world.postgres.fetch(str, TAKE_OUTDATED) == [customer_id]
    await world.assert_exact()
    for back_and_forth in (read_before, build.projection):
        await gone_over(world.postgres, back_and_forth)
        assert await world.postgres.fetch(str, TAKE_OUTDATED) == [customer_id]
    await gone_over(world.postgres, read_before)
    await drop(world.postgres, build.version)
    assert (
        await world.postgres.fetch(int, "SELECT version FROM projection.rebuild_difference") == []
    )


async def test_counts_that_are_wrong_in_what_is_built_are_found(world: Projected) -> None:
    await append_history(world.appender, a_history(Random(2), steps=50))
    await world.catch_up()
    build = await built(world.postgres)
    await world.postgres.execute("UPDATE customers_v2.counter SET count = count + 1")
    found = await compared(world.postgres, build)
    assert not found.is_equal
    assert not found.different


async def test_what_is_on_its_way_is_no_difference(world: Projected) -> None:
    await append_history(world.appender, a_history(Random(2), steps=50))
    build = await built(world.postgres)
    found = await compared(world.postgres, build)  # nothing is shown yet by what is read
    assert (found.is_equal, found.customers, found.moving) == (True, 0, 4)


async def test_who_is_deleted_meanwhile_is_in_neither_version(world: Projected) -> None:
    emails = [f"{number}@example.com" for number in range(3)]
    gone = [await a_customer(world, tags=2, orders=2, email=email) for email in emails]
    await world.catch_up()
    build = await begun(world.postgres)
    await _delete(world, gone[0])
    await fill_all(world.postgres, build)
    await _delete(world, gone[1])
    await finish(world.postgres, build)
    await world.catch_up()
    await gone_over(world.postgres, build.projection)
    await _delete(world, gone[2])
    await world.catch_up()
    async with fed(world.postgres, CUSTOMERS):
        await caught_up(world.postgres, CUSTOMERS)
    await world.assert_exact()
    for number in (1, 2):
        for table in ("profile", "activity", "search"):
            left = f"SELECT id FROM customers_v{number}.{table}"  # noqa: S608
            assert await world.postgres.fetch(str, left) == []


async def test_who_is_parked_is_parked_in_what_is_built(world: Projected) -> None:
    customer_id = await a_customer(world, tags=5)
    await append_history(world.appender, a_history(Random(1), steps=30))
    await spoil(world.postgres, customer_id, 3)
    await world.catch_up()
    build = await built(world.postgres)
    found = await compared(world.postgres, build)
    assert (found.is_equal, found.parked) == (True, 1)
    await gone_over(world.postgres, build.projection)
    await world.served.follow()
    assert await stale(world) == [customer_id]
    assert [each[:5] for each in await parked(world)] == [
        (customer_id, "default", 3, 3, "unknown_type")
    ]


async def test_who_was_parked_is_shown_once_the_cause_is_mended(world: Projected) -> None:
    customer_id = await a_customer(world, tags=5)
    await spoil(world.postgres, customer_id, 3)
    await world.catch_up()
    await mend(world.postgres)
    build = await built(world.postgres)
    assert (await compared(world.postgres, build)).parked == 1
    await gone_over(world.postgres, build.projection)
    await world.assert_exact()


async def test_readers_are_never_held_up_by_one_that_takes_long(world: Projected) -> None:
    await append_history(world.appender, a_history(Random(1), steps=30))
    await world.catch_up()
    build = await built(world.postgres)
    loop = asyncio.get_running_loop()
    async with fed(world.postgres, build.projection):
        async with world.postgres.transaction() as reading:
            await reading.execute("SELECT id FROM read_model.profile")
            going_over = asyncio.create_task(flip(world.postgres, CUSTOMERS, build.projection))
            deadline = loop.time() + 1.5
            while loop.time() < deadline:
                started = loop.time()
                await world.postgres.execute("SELECT id FROM read_model.profile")
                await world.postgres.execute("SELECT id FROM read_model.customer")
                assert loop.time() - started < 1
            assert not going_over.done()
        await going_over
    assert (await versions(world.postgres))[-1] == Version(2, "active")


async def test_a_version_that_does_not_catch_up_is_not_gone_over_to(
    world: Projected, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projections.rebuild.flipping.ATTEMPTS_MAX", 2)
    monkeypatch.setattr("projections.rebuild.flipping.NEAR_SECONDS", 0.1)
    await append_history(world.appender, a_history(Random(1), steps=30))
    build = await built(world.postgres)
    await append_history(world.appender, a_history(Random(2), steps=30), prefix="b_")
    await world.catch_up()
    with pytest.raises(Unavailable, match="does not catch up"):
        await flip(world.postgres, CUSTOMERS, build.projection)
    assert (await versions(world.postgres))[-1] == Version(2, "building")
    await world.assert_exact()
