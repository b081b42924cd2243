"""Batches that no feed would send: with holes, out of order, twice, and from two workers at once.

Invariant: whatever the batches, once the whole log has gone by the tables are exactly what the
streams fold to. What a batch lacks is healed from the log.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import count
from random import Random
from typing import TypeAlias

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from service.event_log import EventLog, StoredEvent
from service.events import Position
from tests.servers.databases import Databases
from tests.support.projections import Projected, a_history, append_history, projected
from tests.support.vaults import VAULT

Window: TypeAlias = tuple[int, int, bool]
"""Where a batch begins and ends, in percent of the history, and whether a rival applies it too."""

WINDOWS = st.lists(st.tuples(st.integers(0, 99), st.integers(1, 100), st.booleans()), max_size=8)
NUMBERS = count()


@pytest.fixture(scope="module")
async def world(databases: Databases) -> AsyncIterator[Projected]:
    url = await databases.create()
    async with projected(url) as world:
        yield world
    await databases.drop(url)


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
    await append_history(world.appender, history, prefix=f"example{next(NUMBERS)}_")
    events = await told(world, began_at)
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
