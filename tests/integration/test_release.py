"""Parked customers go on, whatever workers, writers and deletions do meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from random import Random

import orjson
import pytest

from projections.customers import Stop
from projections.parked import Held, ParkedStore, Step
from projections.release import Outcome
from projections.rows import Parking, Rows
from projections.store import Contended, Store
from service.events import CustomerDeleted, CustomerTagged, OrderRecorded
from service.identifiers import CustomerId
from tests.support.histories import an_order
from tests.support.logs import a_change, a_creation
from tests.support.parking import (
    a_release,
    amendments_held_up,
    mend,
    parked,
    released,
    spoil,
    stale,
    wait_until_held_up,
)
from tests.support.projections import (
    Projected,
    a_history,
    append_history,
    projected,
    running,
)
from tests.support.topics import eventually

DOCUMENTS = "SELECT document FROM read_model.customer"


def _text(text: str | None) -> str | None:
    return text


@pytest.fixture
async def world(database: str) -> AsyncIterator[Projected]:
    async with projected(database) as made:
        yield made


async def a_customer(world: Projected, *, tags: int, orders: int = 0) -> CustomerId:
    """Made, tagged so often, and sold to: an event each."""
    creation = a_creation("jane@example.com", tags=("first",))
    await world.appender.append(creation)
    await tag(world, creation.customer_id, 1, tags)
    for number in range(orders):
        event = OrderRecorded(order=an_order(f"ord_{number}", 1, total=100 + number))
        await world.appender.append(a_change(creation.customer_id, 1 + tags + number, event))
    return creation.customer_id


async def tag(world: Projected, customer_id: CustomerId, version: int, count: int = 1) -> None:
    for number in range(version, version + count):
        event = CustomerTagged(tags=(f"tag {number}",))
        await world.appender.append(a_change(customer_id, number, event))


async def assert_all_is_shown(world: Projected) -> None:
    assert await parked(world) == []
    assert await stale(world) == []
    await world.assert_exact()


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


async def test_an_event_that_comes_while_a_customer_is_released_is_not_left_out(
    world: Projected,
) -> None:
    """The worker has seen it, and passed it over because the customer was still parked."""
    customer_id = await a_customer(world, tags=4)
    await spoil(world.postgres, customer_id, 3)
    await world.catch_up()
    await mend(world.postgres)
    async with amendments_held_up(world):
        releasing = asyncio.create_task(released(world, customer_id))
        await wait_until_held_up(world)
        await tag(world, customer_id, 5)
        await world.catch_up()
    assert (await releasing).applied == 4
    await assert_all_is_shown(world)


@pytest.mark.parametrize("events_max", [2, 100])
async def test_a_deletion_while_a_customer_is_released_shows_nobody(
    world: Projected, events_max: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read before the key was destroyed is not written after it."""
    monkeypatch.setattr("projections.release.EVENTS_MAX", events_max)
    customer_id = await a_customer(world, tags=5, orders=1)
    await spoil(world.postgres, customer_id, 1)
    await world.catch_up()
    await mend(world.postgres)
    shown: list[str | None] = []
    write = ParkedStore.write

    async def noted(self: ParkedStore, step: Step, held: Held) -> None:
        await write(self, step, held)
        shown.extend(await world.postgres.fetch(_text, DOCUMENTS))

    monkeypatch.setattr(ParkedStore, "write", noted)
    async with amendments_held_up(world):
        releasing = asyncio.create_task(released(world, customer_id))
        await wait_until_held_up(world)
        deletion = a_change(customer_id, 7, CustomerDeleted())._replace(closes_stream=True)
        await world.appender.append(deletion)
        await world.catch_up()
    assert (await releasing).result == "released"
    assert set(shown) == {None}
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


async def test_two_who_release_the_same_customer_do_it_once(world: Projected) -> None:
    customer_id = await a_customer(world, tags=30)
    await spoil(world.postgres, customer_id, 3)
    await world.catch_up()
    await mend(world.postgres)
    outcomes = await asyncio.gather(*(released(world, customer_id) for _ in range(4)))
    assert sum(each.applied for each in outcomes) == 29
    assert {each.result for each in outcomes} <= {"released", "not_parked"}
    await assert_all_is_shown(world)


async def test_a_worker_that_wakes_up_late_parks_nobody_again(world: Projected) -> None:
    customer_id = await a_customer(world, tags=4)
    await spoil(world.postgres, customer_id, 3)
    await world.catch_up()
    await mend(world.postgres)
    await released(world, customer_id)
    late = Rows(parked=[Parking(customer_id, "default", 3, 3, "unknown_type")])
    with pytest.raises(Contended):
        await Store(world.postgres).write(late, [])
    await assert_all_is_shown(world)


async def test_workers_writers_and_releases_at_once_leave_exact_rows(world: Projected) -> None:
    """Releases are killed at any moment; customers are spoiled, mended and spoiled again."""
    choose = Random(11)
    history = a_history(choose, steps=500, customers=12, deletion_share=0.05)
    async with running(*(world.runner(batch_events_max=7) for _ in range(2))):
        writing = asyncio.create_task(append_history(world.appender, history))
        rounds = 0
        while not writing.done() or await parked(world):
            ids = await world.postgres.fetch(str, "SELECT customer_id FROM log.stream")
            if ids and not writing.done():
                await spoil(world.postgres, choose.choice(ids), *range(choose.randrange(1, 20), 40))
            for each in await parked(world):
                await mend(world.postgres)
                releasing = asyncio.create_task(released(world, each.customer_id))
                await asyncio.wait([releasing], timeout=choose.random() / 30)
                releasing.cancel()
                await asyncio.wait([releasing])
                rounds += 1
            if writing.done():
                await mend(world.postgres)
        await writing
        await mend(world.postgres)
        await eventually(world.is_up_to_date)
        for parking in await parked(world):
            await released(world, parking.customer_id)
    assert rounds
    await assert_all_is_shown(world)


async def test_documents_are_stored_without_the_mark(world: Projected) -> None:
    customer_id = await a_customer(world, tags=4)
    await spoil(world.postgres, customer_id, 3)
    await world.catch_up()
    (item,) = await world.postgres.fetch(str, "SELECT item FROM read_model.customer")
    assert orjson.loads(item)["id"] == customer_id
    assert "stale" not in orjson.loads(item)
