"""Topics for tests: read by a client library that is not ours, which is no judge of itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic

import confluent_kafka

from service.kafka import ConsumedRecord, ReceivedEvent, Watermark, received

READ_TIMEOUT_SECONDS = 20.0
POLL_SECONDS = 0.02


async def eventually(
    condition: Callable[[], Awaitable[bool]], within_seconds: float = 20.0
) -> float:
    """Wait for a condition; how many seconds it took. Fails at the deadline."""
    started = monotonic()
    while not await condition():
        assert monotonic() - started < within_seconds, f"not within {within_seconds} s"
        await asyncio.sleep(POLL_SECONDS)
    return monotonic() - started


async def read_topic(bootstrap_servers: str, topic: str) -> list[ConsumedRecord]:
    """Every record that is there now, by partition and offset."""
    records = await asyncio.to_thread(_read, bootstrap_servers, topic)
    return sorted(records, key=lambda record: (record.partition, record.offset))


def _read(bootstrap_servers: str, topic: str) -> list[ConsumedRecord]:
    consumer = confluent_kafka.Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": "reads-without-committing",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 20,
        }
    )
    try:
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        consumer.assign(
            [
                confluent_kafka.TopicPartition(topic, number, confluent_kafka.OFFSET_BEGINNING)
                for number in partitions
            ]
        )
        return _read_to_the_ends(consumer, len(partitions))
    finally:
        consumer.close()


def _read_to_the_ends(consumer: confluent_kafka.Consumer, partitions: int) -> list[ConsumedRecord]:
    records: list[ConsumedRecord] = []
    ends: set[int] = set()
    deadline = monotonic() + READ_TIMEOUT_SECONDS
    while len(ends) < partitions:
        assert monotonic() < deadline, "the topic's ends were not reached"
        message = consumer.poll(0.1)
        if message is None:
            continue
        if message.error() is None:
            records.append(_record(message))
        elif message.error().code() == confluent_kafka.KafkaError._PARTITION_EOF:
            ends.add(message.partition())
    return records


def _record(message: confluent_kafka.Message) -> ConsumedRecord:
    return ConsumedRecord(
        message.topic(),
        message.partition(),
        message.offset(),
        message.timestamp()[1],
        message.key(),
        message.value(),
        tuple((name, value or b"") for name, value in message.headers() or ()),
    )


def events_of(records: Sequence[ConsumedRecord]) -> list[ReceivedEvent]:
    found = [received(record) for record in records]
    return [each for each in found if isinstance(each, ReceivedEvent)]


def watermarks_of(records: Sequence[ConsumedRecord]) -> list[Watermark]:
    found = [received(record) for record in records]
    return [each for each in found if isinstance(each, Watermark)]


def chain_breaks(records: Sequence[ConsumedRecord]) -> list[str]:
    """Where a record does not name the position of the one before it in its partition."""
    last: dict[int, int] = {}
    breaks: list[str] = []
    for record in records:
        each = received(record)
        assert each is not None
        before = last.get(record.partition, 0)
        if each.previous_position != before or each.position <= before:
            breaks.append(f"{record.partition}: {before} -> {each}")
        last[record.partition] = each.position
    return breaks
