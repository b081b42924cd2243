"""The projection fed by the log, on a real PostgreSQL: whatever happens, the rows are exact."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from random import Random

import pytest

from projections.checkpoint import LOG_PARTITION
from projections.customers import Incoming, Present
from projections.log_feed import LogSource
from projections.store import Store
from service.event_log import EventLog
from service.events import CustomerDeleted, CustomerTagged, OrderRecorded, Position
from tests.support.histories import an_order
from tests.support.logs import a_change, a_creation
from tests.support.parking import a_customer, parked, spoil
from tests.support.projections import (
    Projected,
    a_history,
    append_history,
    projected,
    running,
    shown,
)
from tests.support.topics import eventually
from tests.support.vaults import VAULT


@pytest.mark.parametrize("seed", range(3))
async def test_the_rows_are_what_the_streams_fold_to(database: str, seed: int) -> None:
    async with projected(database) as world:
        choose = Random(seed)
        for part in range(3):
            await append_history(
                world.appender, a_history(choose, steps=100), prefix=f"part{part}_"
            )
            await world.catch_up()
        await world.assert_exact()
        assert world.observed.reasons == []


async def test_a_worker_that_is_killed_again_and_again_leaves_exact_rows(database: str) -> None:
    async with projected(database) as world:
        writing = asyncio.create_task(
            append_history(world.appender, a_history(Random(7), steps=400, customers=20))
        )
        choose = Random(8)
        while not writing.done() or not await world.is_up_to_date():
            working = asyncio.create_task(world.runner(batch_events_max=7).run())
            await asyncio.wait([working], timeout=choose.random() / 10)
            working.cancel()
            await asyncio.wait([working])
        await writing
        await world.assert_exact()


async def test_two_workers_on_one_log_do_not_disturb_each_other(database: str) -> None:
    async with projected(database) as world:
        runners = [world.runner(batch_events_max=5) for _ in range(2)]
        async with running(*runners):
            await append_history(world.appender, a_history(Random(3), steps=300, customers=10))
            await eventually(world.is_up_to_date)
        await world.assert_exact()


async def test_what_is_appended_is_shown_within_moments(database: str) -> None:
    async with projected(database) as world, running(world.runner()):
        await eventually(world.is_up_to_date)
        creation = a_creation("jane@example.com")
        await world.appender.append(creation)
        assert await eventually(world.is_up_to_date) < 1
        row = (await shown(world.postgres)).customers[creation.customer_id]
        assert row[:2] == ("default", 1)


async def test_a_worker_stops_when_told_and_may_be_told_twice(database: str) -> None:
    async with projected(database) as world:
        runner = world.runner()
        runner.stop()
        runner.stop()
        await runner.run()
        assert runner.status.phase == "stopped"


async def test_lag_is_told(database: str) -> None:
    async with projected(database) as world:
        await world.appender.append(a_creation("jane@example.com"))
        await world.runner()._observe()
        position, events, seconds = world.observed.lag
        assert (position, events) == (0, 1)
        assert 0 <= seconds < 60
        await world.catch_up()
        await world.runner()._observe()
        assert world.observed.lag == (1, 0, 0.0)


async def hot_customers(world: Projected, customers: int, changes: int) -> None:
    creations = [a_creation(f"{number}@example.com") for number in range(customers)]
    for creation in creations:
        await world.appender.append(creation)
    for version in range(1, changes + 1):
        for creation in creations:
            event = CustomerTagged(tags=(f"tag {version}",))
            await world.appender.append(a_change(creation.customer_id, version, event))


async def test_the_place_is_kept_with_the_rows(database: str) -> None:
    async with projected(database) as world:
        await hot_customers(world, 2, 3)
        await world.catch_up()
        place = (await world.checkpoints.places({LOG_PARTITION}))[LOG_PARTITION]
        assert place.position == 8
        assert place.epoch != ""


async def test_what_the_log_feeds_is_bounded_in_bytes(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.event_log.PAGE_BYTES_MAX", 3_000)
    async with projected(database) as world:
        await append_history(world.appender, a_history(Random(3), steps=100))
        async with LogSource(
            world.postgres, EventLog(world.postgres, VAULT), world.checkpoints
        ).open() as feed:
            batch = await feed.next()
        stored = await EventLog(world.postgres, VAULT).page(Position(0))
        assert 0 < len(batch.facts) == len(stored) < 100
        assert sum(len(fact.data.encode()) for fact in stored) < 3_000
        await world.catch_up(
            LogSource(world.postgres, EventLog(world.postgres, VAULT), world.checkpoints)
        )
        await world.assert_exact()


async def test_who_is_parked_and_deleted_is_taken_off_the_counts_once(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By one of two workers who have both read what is shown before either writes."""
    async with projected(database) as world:
        customer_id = await a_customer(world, tags=3)
        await a_customer(world, tags=3, email="john@example.com")
        await spoil(world.postgres, customer_id, 3)
        await world.catch_up()
        deleting = a_change(customer_id, 4, CustomerDeleted())
        await world.appender.append(deleting._replace(closes_stream=True))
        deletion = (await EventLog(world.postgres, VAULT).page(Position(8)))[-1:]
        have_read = asyncio.Barrier(2)
        present = Store.present

        async def read_together(
            self: Store, groups: Mapping[str, Sequence[Incoming]]
        ) -> dict[str, Present]:
            found = await present(self, groups)
            if found[customer_id].document is not None:
                await have_read.wait()
            return found

        monkeypatch.setattr(Store, "present", read_together)
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            for _ in range(2):
                group.create_task(world.applier().apply(deletion, []))
        counted = await world.postgres.fetch(int, "SELECT sum(count)::integer FROM read_model.day")
        assert counted == [1]
        assert (await shown(world.postgres)).profiles.keys().isdisjoint({customer_id})


@pytest.mark.parametrize("batch_events_max", [100, 1_000])
async def test_a_sum_beyond_64_bits_stops_its_customer_and_nobody_else(
    database: str, batch_events_max: int
) -> None:
    async with projected(database) as world:
        rich, other = await a_customer(world, tags=0), a_creation("john@example.com")
        events = [
            OrderRecorded(order=an_order(f"ord_{number}", 1, total=2**62)) for number in range(5)
        ]
        appended = [a_change(rich, 1 + place, event) for place, event in enumerate(events)]
        for each in [*appended, other]:
            await world.appender.append(each)
        async with running(world.runner(batch_events_max=batch_events_max)):
            await eventually(world.is_up_to_date)
        assert [(each.customer_id, each.reason) for each in await parked(world)] == [
            (rich, "refused")
        ]
        spent = await world.postgres.fetch(
            int, "SELECT total_spent FROM read_model.activity ORDER BY total_spent"
        )
        assert spent == [0, 2**62]


async def test_a_lost_key_stops_its_customer_and_nobody_else(database: str) -> None:
    async with projected(database) as world:
        await append_history(world.appender, a_history(Random(5), steps=60))
        lost = await world.postgres.fetch_one(
            str, "SELECT min(customer_id) FROM vault.customer_key WHERE wrapped IS NOT NULL"
        )
        await world.postgres.execute("DELETE FROM vault.customer_key WHERE customer_id = $1", lost)
        await world.catch_up()
        stopped = await world.postgres.fetch(str, "SELECT customer_id FROM projection.parked")
        listed = await world.postgres.fetch_one(int, "SELECT count(*) FROM read_model.profile")
    assert stopped == [lost]
    assert listed
