"""Parked customers go on, whatever workers, writers and deletions do meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from random import Random

import pytest

from projections.parked import Held, ParkedStore, Step
from projections.rows import Parking, Rows
from projections.store import Contended, Store
from service.events import CustomerDeleted
from tests.support.logs import a_change
from tests.support.parking import (
    a_customer,
    amendments_held_up,
    assert_all_is_shown,
    mend,
    parked,
    released,
    spoil,
    tag,
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
