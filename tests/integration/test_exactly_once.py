"""Exactly once, as a reader sees it who reads what is committed, whatever dies at which moment.

Invariant: the reader is another client library, and knows nothing of the relay but its records.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import confluent_kafka
import pytest
from aiokafka import AIOKafkaProducer

from service.embedded import EmbeddedBroker
from service.erasure import look_in_topics
from service.errors import ConfigurationError, Unavailable
from service.event_log import EventLog
from service.events import Position
from service.identifiers import CustomerId
from service.kafka import KafkaConfig, Slot, Topics, TransactionalProducer
from service.relay import ExactlyOnce, Lease, LeaseLost, published_position
from service.relay.standing import Batch, Standing, next_batch
from tests.servers.server import Handle
from tests.support.dying import STEPS, Step, die_at, each_is_there_once, hanging_at
from tests.support.relays import AT_LEAST_ONCE, EXACTLY_ONCE, World, a_world, running
from tests.support.topics import eventually
from tests.support.vaults import VAULT

pytestmark = pytest.mark.real_kafka

SETTLED_WITHIN_SECONDS = 9.0  # less than Kafka takes to abort what nobody has ended


@pytest.fixture
async def world(database: str, kafka_server: Handle, topic_suffix: str) -> AsyncIterator[World]:
    async with a_world(database, kafka_server, topic_suffix, EXACTLY_ONCE) as world:
        yield world


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
async def test_a_relay_that_dies_at_any_step_repeats_nothing_and_loses_nothing(
    world: World, step: Step
) -> None:
    await world.append(20)
    await die_at(world, step)
    async with running(world.relay()):
        await world.append(20)
        waited = await eventually(world.all_is_recorded)

    assert waited < SETTLED_WITHIN_SECONDS
    await each_is_there_once(world, 120)


async def test_relays_that_die_one_after_the_other_repeat_nothing(world: World) -> None:
    for step in STEPS.values():
        await world.append(10)
        await die_at(world, step)
    async with running(world.relay()):
        await eventually(world.all_is_recorded)
    await each_is_there_once(world, 180)


async def next_batch_of(world: World, standing: Standing) -> Batch:
    page = await EventLog(world.postgres, VAULT).page(standing.position)
    assert page
    return next_batch(standing, page)


async def test_a_predecessor_can_publish_nothing_any_more(world: World) -> None:
    """Not even one that never heard of its lease being lost."""
    await world.append(10)
    term = await Lease(world.postgres, world.topic).take()
    assert term is not None
    async with ExactlyOnce(world.postgres, world.config).session(term) as before:
        batch = await next_batch_of(world, before.start)
        async with ExactlyOnce(world.postgres, world.config).session(term) as after:
            for _ in range(2):
                with pytest.raises(LeaseLost):
                    await before.publish(batch)
            await after.publish(batch)
    await each_is_there_once(world, 30)


async def test_a_predecessor_cannot_commit_what_it_had_sent(world: World) -> None:
    await world.append(10)
    term = await Lease(world.postgres, world.topic).take()
    assert term is not None
    may_go_on = asyncio.Event()
    delivery = ExactlyOnce(world.postgres, world.config)
    async with delivery.session(term) as before:
        batch = await next_batch_of(world, before.start)
        async with hanging_before_commit(may_go_on) as reached:
            publishing = asyncio.create_task(before.publish(batch))
            await asyncio.wait_for(reached.wait(), 20)
        async with delivery.session(term) as after:
            assert after.start == before.start
            may_go_on.set()
            with pytest.raises(LeaseLost):
                await publishing
            assert await world.events() == []
            await after.publish(batch)
    await each_is_there_once(world, 30)


@asynccontextmanager
async def hanging_before_commit(may_go_on: asyncio.Event) -> AsyncIterator[asyncio.Event]:
    reached, commit = asyncio.Event(), TransactionalProducer.commit

    async def wait_and_commit(self: TransactionalProducer) -> None:
        reached.set()
        await may_go_on.wait()
        await commit(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionalProducer, "commit", wait_and_commit)
        yield reached


Commit = Callable[[TransactionalProducer], Awaitable[None]]


@pytest.mark.parametrize("is_committed", [True, False], ids=["it was", "it was not"])
async def test_a_commit_without_an_answer_is_looked_up_before_anything_is_sent(
    world: World, monkeypatch: pytest.MonkeyPatch, is_committed: bool
) -> None:
    commit, number = TransactionalProducer.commit, 0

    async def every_second_is_not_answered(self: TransactionalProducer) -> None:
        nonlocal number
        number += 1
        if number % 2 or is_committed:
            await commit(self)
        if number % 2 == 0:
            raise Unavailable("broker_unavailable", "Kafka did not answer.")

    monkeypatch.setattr(TransactionalProducer, "commit", every_second_is_not_answered)
    await world.append(20)
    async with running(world.relay(batch_events_max=15)):
        await eventually(world.all_is_recorded)
    assert world.observed.failures
    await each_is_there_once(world, 60)


async def test_what_is_sent_and_not_committed_is_seen_by_nobody_and_holds_up_no_operator(
    world: World,
) -> None:
    await world.append(1)
    async with running(world.relay()):
        await eventually(world.all_is_recorded)
    await world.append(1)
    async with hanging_at(STEPS["after sending"]) as reached:
        hung = asyncio.create_task(world.relay(batch_events_max=1).run())
        await asyncio.wait_for(reached.wait(), 20)
        async with asyncio.timeout(SETTLED_WITHIN_SECONDS):
            assert await published_position(world.postgres, world.config) == 4
            assert {event.position for event in await world.events()} == {1, 2, 3, 4}
        hung.cancel()
        await asyncio.wait([hung])


async def test_who_is_to_be_forgotten_is_looked_for_in_what_was_never_committed(
    world: World,
) -> None:
    await world.append(1)
    await die_at(world, STEPS["after sending"], time=1)
    assert await world.events() == []
    (first, *_) = await EventLog(world.postgres, VAULT).page(Position(0))
    events, *_ = await look_in_topics(world.config, CustomerId(first.customer_id))
    assert (events.place, events.held, events.readable) == (world.topic, 3, 1)


async def test_settling_ends_what_is_open_in_every_partition(world: World) -> None:
    """Whoever reads what is committed stops before what is open; markers say that it has ended."""
    config = world.config
    slots = [Slot(world.topic, number) for number in range(config.events_partitions)]
    async with TransactionalProducer.connect(config, config.relay_transactional_id) as producer:
        for markers in (1, 2):
            await producer.settle(slots)
            await eventually(lambda: ends_are(world, markers))  # noqa: B023
    assert await world.records() == []


async def ends_are(world: World, offset: int) -> bool:
    """In every partition, markers included."""
    servers, topic = world.config.bootstrap_servers, world.topic

    def ask() -> list[int]:
        consumer = confluent_kafka.Consumer({"bootstrap.servers": servers, "group.id": "asks"})
        places = [confluent_kafka.TopicPartition(topic, number) for number in range(6)]
        try:
            return [consumer.get_watermark_offsets(place, timeout=10)[1] for place in places]
        finally:
            consumer.close()

    try:
        return await asyncio.to_thread(ask) == [offset] * 6
    except confluent_kafka.KafkaException:
        return False  # of a topic that was just made


async def test_the_delivery_can_be_changed_without_loss_or_repeats(world: World) -> None:
    for delivers in (AT_LEAST_ONCE, EXACTLY_ONCE, AT_LEAST_ONCE, EXACTLY_ONCE):
        world.delivers = delivers
        async with running(world.relay()):
            await world.append(10)
            await eventually(world.all_is_recorded)
    await each_is_there_once(world, 120)


async def test_what_exactly_once_left_open_is_ended_by_at_least_once(world: World) -> None:
    await world.append(20)
    await die_at(world, STEPS["after sending"])
    world.delivers = AT_LEAST_ONCE
    async with running(world.relay()):
        assert await eventually(world.all_is_recorded) < SETTLED_WITHIN_SECONDS
    await each_is_there_once(world, 60)


async def test_a_backlog_is_published_in_batches_that_grow(world: World) -> None:
    await world.append(400)
    async with running(world.relay(batch_events_max=50)):
        await eventually(world.all_is_recorded)
    assert world.observed.sizes[:6] == [50, 100, 200, 250, 250, 250]
    await each_is_there_once(world, 1_200)


async def test_a_coordinator_that_does_not_answer_is_told_with_its_settings(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(AIOKafkaProducer, "start", hang)
    monkeypatch.setattr("service.kafka.transactional_producer.COORDINATOR_TIMEOUT_SECONDS", 0.1)
    with pytest.raises(Unavailable, match=r"transaction\.state\.log\.replication\.factor"):
        async with TransactionalProducer.connect(world.config, "any"):
            pass


async def test_a_broker_without_transactions_is_told_with_the_setting() -> None:
    broker = EmbeddedBroker()
    await broker.start()
    try:
        config = KafkaConfig(broker.address, idempotence=False)
        async with Topics.connect(config) as topics:
            await topics.create_missing(config.topics)
        with pytest.raises(ConfigurationError, match="CUSTOMERS_KAFKA_DELIVERY=at-least-once"):
            async with TransactionalProducer.connect(config, config.relay_transactional_id):
                pass
    finally:
        await broker.stop()
