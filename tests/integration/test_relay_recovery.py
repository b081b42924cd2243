"""What breaks under the relay is waited for; what Kafka loses is published again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from service.errors import ConfigurationError, Corrupt
from service.kafka import Topics
from service.relay.at_least_once import AtLeastOnceSession
from tests.servers.server import Handle, Wipeable
from tests.support.relays import (
    AT_LEAST_ONCE,
    DELIVERIES,
    World,
    a_world,
    is_true,
    make_old,
    running,
    wipe,
)
from tests.support.topics import chain_breaks, events_of, eventually


@pytest.fixture(params=DELIVERIES)
def delivers(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def world(
    database: str, kafka_server: Handle, topic_suffix: str, delivers: str
) -> AsyncIterator[World]:
    async with a_world(database, kafka_server, topic_suffix, delivers) as world:
        yield world


@pytest.fixture
async def breakable(
    database: str, breakable_kafka: Wipeable, topic_suffix: str, delivers: str
) -> AsyncIterator[World]:
    async with a_world(database, breakable_kafka, topic_suffix, delivers) as world:
        world.config = replace(world.config, request_timeout_seconds=1.0)
        yield world


@pytest.mark.parametrize("delivers", [AT_LEAST_ONCE])
async def test_a_relay_that_was_killed_between_acknowledgement_and_progress_loses_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached = asyncio.Event()
    publish = AtLeastOnceSession.publish

    async def publish_and_die(self: AtLeastOnceSession, batch: object) -> None:
        await self._producer.send(self._topic.name, batch.records)
        reached.set()
        await asyncio.Event().wait()

    await world.append(20)
    monkeypatch.setattr(AtLeastOnceSession, "publish", publish_and_die)
    killed = asyncio.create_task(world.relay().run())
    await asyncio.wait_for(reached.wait(), 20)
    killed.cancel()
    await asyncio.wait([killed])
    assert {event.position for event in await world.events()} == set(range(1, 61))

    monkeypatch.setattr(AtLeastOnceSession, "publish", publish)
    async with running(world.relay()):
        await world.append(20)
        await eventually(world.all_is_recorded)

    records = await world.records()
    assert sorted(event.position for event in events_of(records)) == list(range(1, 121))
    assert chain_breaks(records) == []


async def test_a_missing_topic_is_waited_for(world: World) -> None:
    world.config = replace(world.config, topic_prefix=f"{world.config.topic_prefix}late.")
    relay = world.relay()
    async with running(relay):
        await world.append(1)
        await eventually(lambda: is_true("customers migrate" in (relay.status.problem or "")))
        async with Topics.connect(world.config) as topics:
            await topics.create_missing(world.config.topics)
        await eventually(world.all_is_recorded)
        assert relay.status.problem is None


async def test_publishing_another_log_over_a_topic_is_refused(world: World) -> None:
    async with running(world.relay()):
        await world.append(1)
        await eventually(world.all_is_recorded)
    await world.postgres.execute("UPDATE log.head SET epoch = 'restored'")

    with pytest.raises(ConfigurationError, match="another log"):
        await world.relay().run()


async def test_publishing_a_log_that_was_set_back_is_refused(world: World) -> None:
    async with running(world.relay()):
        await world.append(1)
        await eventually(world.all_is_recorded)
    await world.postgres.execute("UPDATE log.head SET position = 1")

    with pytest.raises(Corrupt, match="set back"):
        await world.relay().run()


async def test_a_broker_that_is_down_is_waited_for(
    breakable: World, breakable_kafka: Wipeable
) -> None:
    forgets = not breakable_kafka.server.real_kafka
    relay = breakable.relay(creates_topics=forgets)
    async with running(relay):
        await breakable.append(5)
        await eventually(breakable.all_is_recorded)
        await breakable_kafka.kill()
        try:
            await breakable.append(5)
            await eventually(lambda: is_true(relay.status.phase == "unavailable"))
        finally:
            await breakable_kafka.restart()
        await eventually(breakable.all_is_recorded)
        assert relay.status == ("publishing", None)

    assert set(breakable.observed.failures) == {"broker_unavailable"}
    records = await breakable.records()
    assert sorted(event.position for event in events_of(records)) == list(range(1, 31))
    assert chain_breaks(records) == []


@pytest.mark.parametrize("is_running", [True, False], ids=["under a running relay", "at rest"])
async def test_a_topic_that_was_wiped_is_published_again(
    breakable: World, breakable_kafka: Wipeable, is_running: bool
) -> None:
    relay = breakable.relay(creates_topics=True)
    async with running(relay):
        await breakable.append(10)
        await eventually(breakable.all_is_recorded)
        if is_running:
            await wipe(breakable, breakable_kafka)
            await eventually(lambda: everything_is_there(breakable, 30))
            await breakable.append(10)
            await eventually(breakable.all_is_recorded)
    if not is_running:
        await wipe(breakable, breakable_kafka)
        async with running(breakable.relay(creates_topics=True)):
            await breakable.append(10)
            await eventually(breakable.all_is_recorded)

    records = await breakable.records()
    assert sorted(event.position for event in events_of(records)) == list(range(1, 61))
    assert chain_breaks(records) == []


async def test_what_is_older_than_the_topics_retention_is_not_published_again(
    world: World,
) -> None:
    await world.append(10)
    await make_old(world.postgres, up_to=12)

    async with running(world.relay()):
        await eventually(world.all_is_recorded)

    records = await world.records()
    assert sorted(event.position for event in events_of(records)) == list(range(13, 31))
    assert chain_breaks(records) == []


async def everything_is_there(world: World, events: int) -> bool:
    async with Topics.connect(world.config) as topics:
        if await topics.describe(world.topic) is None:
            return False
    return {event.position for event in await world.events()} == set(range(1, events + 1))
