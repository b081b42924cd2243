"""Parked customers go on exactly where they stopped, once the cause is mended."""

from __future__ import annotations

from collections.abc import AsyncIterator
from random import Random

import orjson
import pytest

from projections.customers import Stop
from projections.release import Outcome
from service.errors import Corrupt
from service.events import CustomerDeleted
from tests.support.logs import a_change
from tests.support.parking import (
    a_customer,
    a_release,
    assert_all_is_shown,
    change_the_log,
    mend,
    parked,
    released,
    spoil,
    stale,
    tag,
)
from tests.support.projections import (
    Projected,
    a_history,
    append_history,
    projected,
)


@pytest.fixture
async def world(database: str) -> AsyncIterator[Projected]:
    async with projected(database) as made:
        yield made


async def test_who_is_parked_is_listed_with_what_waits(world: Projected) -> None:
    customer_id = await a_customer(world, tags=5)
    await spoil(world.postgres, customer_id, 3)
    await append_history(world.appender, a_history(Random(1), steps=30))
    await world.catch_up()
    (found,) = await parked(world)
    assert found[:5] == (customer_id, "default", 3, 3, "unknown_type")
    assert found.waiting == 4
    await world.runner()._observe()
    assert world.observed.parked_customers == 1


async def test_who_is_released_is_shown_as_the_stream_folds(world: Projected) -> None:
    customer_id = await a_customer(world, tags=5, orders=3)
    await spoil(world.postgres, customer_id, 3)
    await world.catch_up()
    stop = Stop(3, 3, "unknown_type")
    untouched = Outcome(customer_id, "default", "still_parked", 0, stop)
    assert await released(world, customer_id) == untouched
    assert await released(world, customer_id) == untouched
    await mend(world.postgres)
    assert await released(world, customer_id) == Outcome(customer_id, "default", "released", 7)
    await assert_all_is_shown(world)
    assert await released(world, customer_id) == Outcome(customer_id, "default", "not_parked")
    await tag(world, customer_id, 9)
    await world.catch_up()
    await assert_all_is_shown(world)
    assert world.observed.bridged == 0


async def test_nobody_and_another_tenants_customer_are_not_released(world: Projected) -> None:
    customer_id = await a_customer(world, tags=1)
    release = a_release(world.postgres)
    assert await release.release("cust_0") is None
    assert await release.release(customer_id, "other") is None
    outcome = await release.release(customer_id, "default")
    assert outcome is not None
    assert outcome.result == "not_parked"


async def test_more_events_than_a_transaction_takes_are_applied_in_order(
    world: Projected, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projections.release.EVENTS_MAX", 3)
    customer_id = await a_customer(world, tags=10)
    await spoil(world.postgres, customer_id, 1)
    await world.catch_up()
    assert (await parked(world))[0].version == 1
    await mend(world.postgres)
    assert (await released(world, customer_id)).applied == 11
    await assert_all_is_shown(world)


async def test_a_second_poison_stops_the_customer_there(
    world: Projected, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projections.release.EVENTS_MAX", 4)
    customer_id = await a_customer(world, tags=12)
    await spoil(world.postgres, customer_id, 1)
    await world.catch_up()
    await mend(world.postgres)
    await spoil(world.postgres, customer_id, 7)
    outcome = await released(world, customer_id)
    assert outcome[2:] == ("still_parked", 6, Stop(7, 7, "unknown_type"))
    assert await stale(world) == [customer_id]
    assert [(each.version, each.waiting) for each in await parked(world)] == [(7, 7)]
    await mend(world.postgres)
    assert (await released(world, customer_id)).applied == 7
    await assert_all_is_shown(world)


async def test_a_key_that_was_lost_and_is_restored(world: Projected) -> None:
    await append_history(world.appender, a_history(Random(5), steps=60))
    await world.postgres.execute(
        "CREATE TABLE public.backup AS SELECT * FROM vault.customer_key;"
        " DELETE FROM vault.customer_key WHERE wrapped IS NOT NULL"
    )
    await world.catch_up()
    lost = [each.customer_id for each in await parked(world)]
    assert lost
    outcomes = [await released(world, each) for each in lost]
    assert {(each.result, each.stop.reason) for each in outcomes if each.stop} == {
        ("still_parked", "undecodable")
    }
    await world.postgres.execute(
        "INSERT INTO vault.customer_key SELECT * FROM backup ON CONFLICT DO NOTHING"
    )
    assert {(await released(world, each)).result for each in lost} == {"released"}
    await assert_all_is_shown(world)


async def test_what_the_database_refuses_is_found_among_many_events(world: Projected) -> None:
    customer_id = await a_customer(world, tags=9)
    refused = f"CHECK (id <> '{customer_id}' OR version < "
    await world.postgres.execute(f"ALTER TABLE customers_v1.customer ADD CONSTRAINT a {refused}3)")
    await world.catch_up()
    assert world.observed.reasons == ["refused"]
    await world.postgres.execute(
        "ALTER TABLE customers_v1.customer DROP CONSTRAINT a;"
        f" ALTER TABLE customers_v1.customer ADD CONSTRAINT b {refused}7)"
    )
    outcome = await released(world, customer_id)
    assert outcome[2:] == ("still_parked", 4, Stop(7, 7, "refused"))
    assert (await released(world, customer_id))[2:] == (*outcome[2:3], 0, outcome.stop)
    await world.postgres.execute("ALTER TABLE customers_v1.customer DROP CONSTRAINT b")
    assert (await released(world, customer_id)).applied == 4
    await assert_all_is_shown(world)


async def test_who_was_hidden_while_parked_stays_hidden(world: Projected) -> None:
    customer_id = await a_customer(world, tags=4, orders=2)
    await spoil(world.postgres, customer_id, 3)
    await world.catch_up()
    deletion = a_change(customer_id, 7, CustomerDeleted())._replace(closes_stream=True)
    await world.appender.append(deletion)
    await world.catch_up()
    await mend(world.postgres)
    assert (await released(world, customer_id)).result == "released"
    await assert_all_is_shown(world)


async def test_who_is_parked_and_shows_everything_is_let_go(world: Projected) -> None:
    """Left over by a worker of a release that parked without a look at the version."""
    customer_id = await a_customer(world, tags=1)
    await world.catch_up()
    await world.postgres.execute(
        "INSERT INTO projection.parked VALUES ('customers', 1, $1, 'default', 1, 1, 'impossible')",
        customer_id,
    )
    assert await released(world, customer_id) == Outcome(customer_id, "default", "released")
    await assert_all_is_shown(world)


async def test_a_log_with_a_hole_is_an_error_and_shows_nothing(world: Projected) -> None:
    customer_id = await a_customer(world, tags=4)
    await spoil(world.postgres, customer_id, 3)
    await world.catch_up()
    await change_the_log(world.postgres, "DELETE FROM log.event WHERE version = 4")
    await mend(world.postgres)
    with pytest.raises(Corrupt):
        await released(world, customer_id)
    assert [each.version for each in await parked(world)] == [3]


async def test_documents_are_stored_without_the_mark(world: Projected) -> None:
    customer_id = await a_customer(world, tags=4)
    await spoil(world.postgres, customer_id, 3)
    await world.catch_up()
    (item,) = await world.postgres.fetch(str, "SELECT item FROM read_model.customer")
    assert orjson.loads(item)["id"] == customer_id
    assert "stale" not in orjson.loads(item)
