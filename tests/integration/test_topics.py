"""Topics, the producer and the consumer on a real broker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

import confluent_kafka
import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import KafkaConnectionError, KafkaError, KafkaTimeoutError

from service.errors import Corrupt, Unavailable
from service.kafka import (
    ConsumedRecord,
    Consumer,
    KafkaConfig,
    Producer,
    Record,
    Shelf,
    Topics,
    partition_for,
    read_tails,
)
from tests.servers.server import Handle, Wipeable
from tests.support.topics import eventually, read_topic


@pytest.fixture
def config(kafka: str, kafka_server: Handle, topic_suffix: str) -> KafkaConfig:
    return KafkaConfig(
        kafka, topic_prefix=f"{topic_suffix}.", idempotence=kafka_server.server.real_kafka
    )


@pytest.fixture
async def topics(config: KafkaConfig) -> AsyncIterator[Topics]:
    async with Topics.connect(config) as topics:
        yield topics


def a_record(number: int, key: bytes | None = b"key") -> Record:
    return Record(key, b"%d" % number, [("n", b"%d" % number)], 1_700_000_000_000 + number)


async def test_missing_topics_are_made_once_with_their_settings(
    config: KafkaConfig, topics: Topics
) -> None:
    assert [fault.split(":")[0] for fault in await topics.faults(config.topics)] == [
        f"topic {topic.name} is missing" for topic in config.topics
    ]

    made = await asyncio.gather(*(topics.create_missing(config.topics) for _ in range(3)))

    assert {name for names in made for name in names} == {topic.name for topic in config.topics}
    assert await topics.faults(config.topics) == []
    assert await topics.create_missing(config.topics) == []
    described = await topics.describe(config.events_topic.name)
    assert described is not None
    assert described.partitions == 6


def test_how_long_a_record_may_stay_counts_what_closes_its_segment() -> None:
    config, day, hour = KafkaConfig("nowhere:9092"), 86_400, 3_600
    assert config.events_topic.gone_after_seconds == 7 * day + day + hour
    assert config.state_topic.gone_after_seconds == 7 * day + 3.5 * day + hour


@pytest.mark.real_kafka
async def test_an_existing_topic_is_judged_and_not_changed(
    config: KafkaConfig, topics: Topics
) -> None:
    await topics.create_missing(config.topics)
    other = replace(config, events_partitions=3, events_retention_seconds=60)

    assert await topics.create_missing(other.topics) == []
    faults = await topics.faults([other.events_topic])

    assert [fault.split(",")[0].split(":")[0] for fault in faults] == [
        f"topic {config.events_topic.name} has 6 partitions where 3 are configured",
        f"topic {config.events_topic.name} has retention.ms=604800000",
        f"topic {config.events_topic.name} has segment.ms=86400000",
    ]
    assert await topics.faults(config.topics) == []


async def test_a_topic_that_was_made_again_has_another_identity(
    config: KafkaConfig, topics: Topics, kafka: str
) -> None:
    topic = config.events_topic
    await topics.create_missing([topic])
    before = await topics.describe(topic.name)

    await delete_topic(kafka, topic.name)
    await eventually(lambda: is_gone(topics, topic.name))
    await topics.create_missing([topic])

    after = await topics.describe(topic.name)
    assert before is not None
    assert after is not None
    assert before.id != after.id


async def test_no_client_of_ours_makes_a_topic_by_asking_for_it(
    config: KafkaConfig, topics: Topics
) -> None:
    async with Producer.connect(replace(config, request_timeout_seconds=0.5)) as producer:
        with pytest.raises(Unavailable):
            await producer.partitions(config.events_topic.name)

    assert await topics.describe(config.events_topic.name) is None


async def test_records_are_sent_whole_in_order_and_where_other_clients_put_them(
    config: KafkaConfig, topics: Topics, kafka: str
) -> None:
    topic = config.events_topic.name
    await topics.create_missing([config.events_topic])
    keys = [b"cust_%d" % number for number in range(40)]
    records = [a_record(number, keys[number % 40]) for number in range(400)]

    async with Producer.connect(config) as producer:
        await producer.send_keyed(topic, records)
    theirs = await asyncio.to_thread(place_by_another_client, kafka, topic, keys)

    found = [each for each in await read_topic(kafka, topic) if each.value != b"theirs"]
    assert sorted(found, key=lambda record: record.timestamp_ms) == [
        ConsumedRecord(
            topic, theirs[sent.key], read.offset, sent.timestamp_ms, *sent[:2], tuple(sent.headers)
        )
        for sent, read in zip(
            records, sorted(found, key=lambda record: record.timestamp_ms), strict=True
        )
    ]
    for key in keys:
        times = [record.timestamp_ms for record in found if record.key == key]
        assert times == sorted(times)


async def test_more_than_one_batch_can_hold_stays_in_order(
    config: KafkaConfig, topics: Topics, kafka: str
) -> None:
    topic = config.events_topic.name
    await topics.create_missing([config.events_topic])
    padding = b"x" * 100_000
    records = [Record(b"k", b"%d " % n + padding, (), 1_700_000_000_000) for n in range(25)]

    async with Producer.connect(config) as producer:
        offsets = await producer.send(topic, {2: records})

    assert offsets == {2: 0}
    found = await read_topic(kafka, topic)
    assert [int((record.value or b"").split()[0]) for record in found] == list(range(25))


async def test_tails_are_the_last_records_of_each_partition(
    config: KafkaConfig, topics: Topics
) -> None:
    topic = config.events_topic.name
    await topics.create_missing([config.events_topic])
    async with Producer.connect(config) as producer:
        for _ in range(3):
            await producer.send(topic, {0: [a_record(n) for n in range(5)], 3: [a_record(9)]})

    tails = await read_tails(config, topic, 6)

    assert [tail.first_offset for tail in tails] == [0] * 6
    last = [tail.last_record for tail in tails]
    assert [record and (record.offset, record.value) for record in last] == [
        (14, b"4"),
        None,
        None,
        (2, b"9"),
        None,
        None,
    ]


async def test_a_consumer_begins_where_its_caller_says(config: KafkaConfig, topics: Topics) -> None:
    topic = config.events_topic.name
    await topics.create_missing([config.events_topic])
    async with Producer.connect(config) as producer:
        await producer.send(topic, {n: [a_record(each) for each in range(10)] for n in range(6)})
    asked: list[frozenset[int]] = []

    async def assigned(partitions: frozenset[int]) -> Mapping[int, int]:
        asked.append(partitions)
        return {0: 7, 1: 10}

    found: list[ConsumedRecord] = []
    async with Consumer.join(config, topic, f"group-{topic}", assigned=assigned) as consumer:

        async def has_all() -> bool:
            found.extend(await consumer.fetch(wait_seconds=0.2, records_max=100))
            return len(found) >= 43

        await eventually(has_all)
        await consumer.commit({})  # all partitions were taken away meanwhile
        await consumer.commit({0: 10})
        assert await consumer.committed(0) == 10

    assert asked == [frozenset(range(6))]
    offsets = {n: [r.offset for r in found if r.partition == n] for n in range(6)}
    assert offsets == {0: [7, 8, 9], 1: [], **{n: list(range(10)) for n in range(2, 6)}}


async def test_what_an_assignment_raises_comes_out_of_the_next_fetch(
    config: KafkaConfig, topics: Topics
) -> None:
    topic = config.events_topic.name
    await topics.create_missing([config.events_topic])

    async def assigned(partitions: frozenset[int]) -> Mapping[int, int]:
        raise LookupError

    async with Consumer.join(config, topic, f"group-{topic}", assigned=assigned) as consumer:
        with pytest.raises(LookupError):
            await eventually(lambda: nothing(consumer))


async def test_a_broker_that_does_not_answer_is_unavailable() -> None:
    config = KafkaConfig("127.0.0.1:1")
    for connecting in (Producer.connect(config), Topics.connect(config)):
        with pytest.raises(Unavailable) as caught:
            async with connecting:
                pass
        assert caught.value.code == "broker_unavailable"


@pytest.mark.real_kafka
async def test_an_error_in_the_answer_about_settings_is_not_taken_for_no_settings(
    topics: Topics,
) -> None:
    with pytest.raises(Unavailable, match="UnknownTopicOrPartitionError"):
        await topics._settings("not-there")


async def test_settings_that_could_not_be_asked_for_are_not_taken_for_none(
    config: KafkaConfig, topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def describe_configs(*_: object) -> None:
        raise KafkaTimeoutError

    await topics.create_missing(config.topics)
    monkeypatch.setattr(AIOKafkaAdminClient, "describe_configs", describe_configs)
    with pytest.raises(Unavailable, match="KafkaTimeoutError"):
        await topics.faults(config.topics)


async def test_a_broker_that_dies_while_it_is_asked_is_not_one_that_knows_no_settings(
    breakable_kafka: Wipeable, topic_suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = KafkaConfig(breakable_kafka.server.address, topic_prefix=f"{topic_suffix}.")

    async def describe_configs(*_: object) -> None:
        await breakable_kafka.kill()
        raise KafkaConnectionError

    monkeypatch.setattr(AIOKafkaAdminClient, "describe_configs", describe_configs)
    async with Topics.connect(config) as topics:
        await topics.create_missing([config.events_topic])
        try:
            with pytest.raises(Unavailable):
                await topics.faults([config.events_topic])
        finally:
            await breakable_kafka.restart()


async def test_an_administration_that_hangs_is_given_up(
    config: KafkaConfig, topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("service.kafka.topics.REQUEST_TIMEOUT_SECONDS", 0.5)
    for question in ("start", "create_topics"):
        with monkeypatch.context() as patch:
            patch.setattr(AIOKafkaAdminClient, question, hang)
            with pytest.raises(Unavailable, match="TimeoutError"):
                await asyncio.wait_for(topics.create_missing([config.state_topic]), 20)
    await topics.create_missing([config.state_topic])
    with monkeypatch.context() as patch:
        patch.setattr(AIOKafkaAdminClient, "describe_configs", hang)
        with pytest.raises(Unavailable, match="TimeoutError"):
            await asyncio.wait_for(topics.faults([config.state_topic]), 20)


@pytest.mark.parametrize("client", [AIOKafkaConsumer, AIOKafkaClient])
async def test_a_link_that_does_not_close_hides_no_error(
    client: type, config: KafkaConfig, topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "stop" if client is AIOKafkaConsumer else "close"
    close = getattr(client, name)

    async def close_and_fail(self: object) -> None:
        await close(self)
        raise KafkaError

    async def assigned(partitions: frozenset[int]) -> Mapping[int, int]:
        return {}

    topic = config.events_topic
    await topics.create_missing([topic])
    monkeypatch.setattr(client, name, close_and_fail)
    link: AbstractAsyncContextManager[object] = Topics.connect(config)
    if client is AIOKafkaConsumer:
        link = Consumer.join(config, topic.name, f"group-{topic.name}", assigned=assigned)
    with pytest.raises(Corrupt, match="a hole"):
        async with link:
            raise Corrupt("a hole")
    assert len(await read_tails(config, topic.name, 6)) == 6
    assert await topics.faults([topic]) == []


async def test_a_connection_that_is_given_up_is_closed(
    config: KafkaConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a broker lets us in and then says nothing."""
    send, made = AIOKafkaConnection.send, list[AIOKafkaConnection]()

    async def hear_nothing_of_the_cluster(self: AIOKafkaConnection, request: object) -> object:
        if type(request).__name__.startswith("Metadata"):
            made.append(self)
            await asyncio.Event().wait()
        return await send(self, request)

    monkeypatch.setattr(AIOKafkaConnection, "send", hear_nothing_of_the_cluster)
    monkeypatch.setattr("service.kafka.topics.REQUEST_TIMEOUT_SECONDS", 0.5)
    with pytest.raises(Unavailable, match="TimeoutError"):
        async with Topics.connect(config):
            pass
    assert [each.connected() for each in made] == [False]


@pytest.mark.parametrize("hangs", [False, True])
async def test_a_shelf_that_does_not_close_replaces_nothing(
    hangs: bool, config: KafkaConfig, topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop, opened = AIOKafkaConsumer.stop, asyncio.Event()
    topic = config.events_topic.name

    async def stop_badly(self: object) -> None:
        await stop(self)
        if hangs:
            await asyncio.Event().wait()
        raise KafkaError

    async def read_for_ever() -> None:
        async with Shelf.open(config, topic, f"group-{topic}"):
            opened.set()
            await asyncio.Event().wait()

    await topics.create_missing([config.events_topic])
    monkeypatch.setattr(AIOKafkaConsumer, "stop", stop_badly)
    monkeypatch.setattr("service.kafka.shelf.STOP_TIMEOUT_SECONDS", 0.5)
    with pytest.raises(Corrupt, match="a hole"):
        async with Shelf.open(config, topic, f"group-{topic}"):
            raise Corrupt("a hole")
    reading = asyncio.create_task(read_for_ever())
    await opened.wait()
    reading.cancel()
    done, _ = await asyncio.wait([reading], timeout=10)
    assert [each.cancelled() for each in done] == [True]


async def nothing(consumer: Consumer) -> bool:
    await consumer.fetch(wait_seconds=0.1, records_max=1)
    return False


async def is_gone(topics: Topics, name: str) -> bool:
    return await topics.describe(name) is None


async def delete_topic(bootstrap_servers: str, name: str) -> None:
    from confluent_kafka.admin import AdminClient

    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    await asyncio.to_thread(admin.delete_topics([name])[name].result)


def place_by_another_client(
    bootstrap_servers: str, topic: str, keys: list[bytes]
) -> Mapping[bytes, int]:
    """To which partitions another client sends these keys with Kafka's default partitioner."""
    placed: dict[bytes, int] = {}
    producer = confluent_kafka.Producer(
        {"bootstrap.servers": bootstrap_servers, "partitioner": "murmur2_random"}
    )
    for key in keys:
        producer.produce(
            topic,
            key=key,
            value=b"theirs",
            on_delivery=lambda _, message: placed.update({message.key(): message.partition()}),
        )
    producer.flush(10)
    assert placed == {key: partition_for(key, 6) for key in keys}
    return placed
