"""What the relay publishes, on a real PostgreSQL and a real broker: everything, in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import groupby
from time import monotonic

import pytest

from service.event_log import EventLog
from service.relay.laggards import WATERMARK_SECONDS
from tests.servers.server import Handle
from tests.support.logs import appending
from tests.support.relays import World, a_world, is_true, running
from tests.support.topics import chain_breaks, events_of, eventually, watermarks_of


@pytest.fixture
async def world(database: str, kafka_server: Handle, topic_suffix: str) -> AsyncIterator[World]:
    async with a_world(database, kafka_server, topic_suffix) as world:
        yield world


async def test_every_event_is_published_once_in_order_while_others_write(world: World) -> None:
    relay = world.relay(batch_events_max=50)
    async with running(relay), appending(world.postgres) as other_appender:
        other = replace(world, appender=other_appender)
        await asyncio.gather(*(each.append(60) for each in (world, other, world, other)))
        await eventually(world.all_is_recorded)

    records = await world.records()
    events = events_of(records)
    assert sorted(event.position for event in events) == list(range(1, 721))
    assert chain_breaks(records) == []
    by_customer = sorted(events, key=lambda event: event.customer_id)  # stable: keeps the order
    for _, history in groupby(by_customer, key=lambda event: event.customer_id):
        assert [event.version for event in history] == [1, 2, 3]
    log = {event.position: event for event in await EventLog(world.postgres).page(0)}
    assert all(event.decoded() == log[event.position].decoded().event for event in events)
    assert all(event.time == log[event.position].time for event in events)
    assert world.observed.events == 720


async def test_idle_partitions_get_watermarks_and_nothing_is_repeated(world: World) -> None:
    async def all_partitions_are_up_to_date() -> bool:
        recorded = await world.recorded()
        return recorded is not None and {recorded.position, *recorded.tails} == {3}

    relay = world.relay()
    async with running(relay):
        await world.append(1)
        await eventually(all_partitions_are_up_to_date)
        before = await world.records()
        deadline = monotonic() + 10 * WATERMARK_SECONDS
        await eventually(lambda: is_true(monotonic() > deadline))

    records = await world.records()
    assert records == before
    assert chain_breaks(records) == []
    last = {record.partition: record.offset for record in records}
    ends = [mark for mark in watermarks_of(records) if mark.offset == last[mark.partition]]
    assert len(ends) == 5
    assert {mark.position for mark in ends} == {3}


async def test_catching_up_makes_no_watermarks(world: World) -> None:
    await world.append(300)
    relay = world.relay(batch_events_max=10)
    async with running(relay):
        await eventually(world.all_is_recorded)

    records = await world.records()
    assert {event.position for event in events_of(records)} == set(range(1, 901))
    assert {mark.position for mark in watermarks_of(records)} <= {900}


async def test_everything_works_with_every_notification_lost(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.relay.relay.CHANNEL", "nobody_notifies")
    async with running(world.relay()):
        await world.append(5)
        assert await eventually(world.all_is_recorded) < 10
