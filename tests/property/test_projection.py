"""Batches that no feed would send: with holes, out of order, twice, and from two workers at once.

Invariant: whatever the batches, once the whole log has gone by the tables are exactly what the
streams fold to. What a batch lacks is healed from the log.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from itertools import count
from random import Random
from typing import TypeAlias

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from service.event_log import EventLog, StoredEvent
from service.events import Order, OrderRecorded, Position
from tests.servers.databases import Databases
from tests.support.projections import (
    Projected,
    a_history,
    append_history,
    as_read_later,
    in_clear,
    projected,
    recorded_events,
    shown,
)
from tests.support.vaults import VAULT

Window: TypeAlias = tuple[int, int, bool]
"""Where a batch begins and ends, in percent of the history, and whether a rival applies it too."""

WINDOWS = st.lists(st.tuples(st.integers(0, 99), st.integers(1, 100), st.booleans()), max_size=8)
NUMBERS = count()
CLEAR = """
TRUNCATE customers_v1.customer, customers_v1.profile, customers_v1.activity, customers_v1.tagged,
         customers_v1.search, customers_v1.counter, customers_v1.day, customers_v1.contribution,
         customers_v1.anonymous
"""
TOTALS = """
SELECT coalesce(customer.tenant, anonymous.tenant), held.currency,
       count(*) FILTER (WHERE held.is_countable), sum(held.amount)
FROM read_model.contribution AS held
LEFT JOIN read_model.customer ON customer.id = held.customer_id
LEFT JOIN read_model.anonymous ON anonymous.reference = held.customer_id
GROUP BY 1, 2 ORDER BY 1, 2
"""
GHOSTS = "SELECT id FROM read_model.profile WHERE email = '' ORDER BY id"


@pytest.fixture(scope="module")
async def world(databases: Databases) -> AsyncIterator[Projected]:
    url = await databases.create()
    async with projected(url) as world:
        yield world
    await databases.drop(url)


async def ghosts(world: Projected) -> list[str]:
    return await world.postgres.fetch(str, GHOSTS)


async def whole_log(world: Projected) -> list[StoredEvent]:
    events: list[StoredEvent] = []
    while page := await told(world, len(events)):
        events += page
    return events


async def told(world: Projected, after: int) -> list[StoredEvent]:
    return await EventLog(world.postgres, VAULT).page(Position(after))


def cut(events: list[StoredEvent], window: Window) -> list[StoredEvent]:
    begin, length, _ = window
    first = len(events) * begin // 100
    return events[first : first + max(1, len(events) * length // 100)]


@given(choose=st.randoms(use_true_random=False), steps=st.integers(1, 40), windows=WINDOWS)
@settings(
    max_examples=settings().max_examples // 10,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
async def test_any_batches_from_anybody_lead_to_exact_rows(
    world: Projected, choose: Random, steps: int, windows: list[Window]
) -> None:
    began_at = (await EventLog(world.postgres).head()).position
    history = a_history(choose, steps=steps)
    clear = await append_history(world.appender, history, prefix=f"example{next(NUMBERS)}_")
    events = in_clear(await told(world, began_at), clear)
    for window in windows:
        batch = cut(events, window)
        workers = [world.applier(), world.applier()][: 1 + window[2]]
        await asyncio.gather(*(worker.apply(batch, []) for worker in workers))
    for event in events:
        await world.applier().apply([event], [])
    await world.assert_exact()
    assert world.observed.reasons == []


@given(choose=st.randoms(use_true_random=False), steps=st.integers(5, 40))
@settings(max_examples=settings().max_examples // 20)
async def test_the_last_event_of_each_customer_brings_all_before_it(
    world: Projected, choose: Random, steps: int
) -> None:
    began_at = (await EventLog(world.postgres).head()).position
    history = a_history(choose, steps=steps)
    await append_history(world.appender, history, prefix=f"example{next(NUMBERS)}_")
    last = {event.customer_id: event for event in await told(world, began_at)}
    await world.applier().apply(last.values(), [])
    await world.assert_exact()


def in_pieces(choose: Random, events: Sequence[StoredEvent]) -> Iterator[Sequence[StoredEvent]]:
    done = 0
    while done < len(events):
        begin, done = done, done + choose.randint(1, 12)
        yield events[begin:done]


async def fill(world: Projected, choose: Random, events: Sequence[StoredEvent]) -> None:
    for batch in in_pieces(choose, events):
        await world.applier().apply(batch, [])
        assert await ghosts(world) == []
    assert world.observed.reasons == []


def totals(orders: Iterable[tuple[tuple[str, str], Order]]) -> Counter[tuple[str, str, str]]:
    """Count and spend by tenant and currency, of the last state of each order."""
    last = {(tenant, owner, order.order_id): order for (tenant, owner), order in orders}
    sums: Counter[tuple[str, str, str]] = Counter()
    for (tenant, _, _), order in last.items():
        if not order.test and order.status in ("placed", "paid", "completed"):
            paid = order.total if order.captured is None else order.captured
            sums[tenant, order.currency, "count"] += 1
            sums[tenant, order.currency, "spend"] += max(0, paid - (order.refunded or 0))
    return +sums


async def shown_totals(world: Projected) -> Counter[tuple[str, str, str]]:
    sums: Counter[tuple[str, str, str]] = Counter()
    rows = await world.postgres.fetch(lambda *row: row, TOTALS)
    for tenant, currency, orders, spend in rows:
        sums[tenant, currency, "count"], sums[tenant, currency, "spend"] = orders, int(spend)
    return +sums


async def recorded_totals(world: Projected) -> Counter[tuple[str, str, str]]:
    return totals(
        ((each.tenant, each.customer_id), each.event.order)
        for each in await recorded_events(world.postgres)
        if isinstance(each.event, OrderRecorded)
    )


@given(choose=st.randoms(use_true_random=False), steps=st.integers(10, 60))
@settings(
    max_examples=settings().max_examples // 10,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
async def test_filled_again_after_deletions_the_rows_are_the_same(
    databases: Databases, choose: Random, steps: int
) -> None:
    """First everything in clear, as it happens; then as the log is read after all deletions."""
    url = await databases.create()
    try:
        async with projected(url) as world:
            history = a_history(choose, steps=steps, deletion_share=0.1)
            clear = await append_history(world.appender, history)
            read = await whole_log(world)
            events = in_clear(read, clear)
            later = [each.decoded() for each in as_read_later(events)]
            assert [each.decoded() for each in read] == later
            await fill(world, choose, events)
            await world.assert_exact()
            assert await shown_totals(world) == await recorded_totals(world)
            live = await shown(world.postgres)

            await world.postgres.execute(CLEAR)
            await fill(world, choose, read)
            assert await shown(world.postgres) == live
            assert await shown_totals(world) == await recorded_totals(world)
    finally:
        await databases.drop(url)
