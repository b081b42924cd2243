"""What is really in a topic: where each partition begins and ends, and its last record.

Invariant: nothing is taken from the offsets that a broker reports for a partition's end but the
place to read on from; the embedded broker reports the start of the last batch there. Markers of
transactions are no records, so the last record may lie before the last offset; what is not
committed is none either.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple, Protocol, cast

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from service.kafka.config import KafkaConfig
from service.kafka.link import closing, link, our_errors
from service.kafka.records import ConsumedRecord

TAILS_TIMEOUT_SECONDS = 10.0
STOP_TIMEOUT_SECONDS = 5.0
FETCH_WAIT_MILLISECONDS = 20  # a partition that is read to its end must not hold up the next
STEP_FIRST = 8  # offsets before the end: a transaction's marker is the last, and others may follow
STEP_FACTOR = 16  # how much further back to look where only markers were found


class Tail(NamedTuple):
    """One partition. `first_offset` above 0 means that older records were there and are gone."""

    first_offset: int
    last_record: ConsumedRecord | None


class Message(Protocol):
    """A record as the client library gives it."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


class Place(Protocol):
    """A partition of a topic, as the client library names it."""

    topic: str
    partition: int


class _Consumer(Protocol):
    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    def assign(self, partitions: Sequence[Place]) -> None: ...
    def seek(self, partition: Place, offset: int) -> None: ...
    async def position(self, partition: Place) -> int: ...
    def highwater(self, partition: Place) -> int | None: ...
    def last_stable_offset(self, partition: Place) -> int | None: ...
    async def beginning_offsets(self, partitions: Sequence[Place]) -> Mapping[Place, int]: ...
    async def end_offsets(self, partitions: Sequence[Place]) -> Mapping[Place, int]: ...
    async def getmany(self, *, timeout_ms: int) -> Mapping[Place, Sequence[Message]]: ...


async def read_tails(
    config: KafkaConfig, topic: str, partitions: int, *, awaits_open: bool = False
) -> list[Tail]:
    """The tail of each partition, in order. Raises Unavailable.

    Records of a transaction that is still open count as none; `awaits_open` waits until there are
    none, for whoever is to write behind them.
    """
    places = [cast("Place", TopicPartition(topic, number)) for number in range(partitions)]
    with our_errors():
        async with (
            asyncio.timeout(TAILS_TIMEOUT_SECONDS),
            _consumer(config, "read_committed") as consumer,
        ):
            firsts = await consumer.beginning_offsets(places)
            ends = await consumer.end_offsets(places)
            tails: list[Tail] = []
            for place in places:
                first, end = firsts[place], ends[place]
                last = await _last(consumer, place, first, end, awaits_open=awaits_open)
                tails.append(Tail(first, last))
    return tails


async def is_written(config: KafkaConfig, topic: str) -> bool:
    """Whether anything was ever sent to the first partition, and be it not committed yet."""
    place = cast("Place", TopicPartition(topic, 0))
    with our_errors():
        async with (
            asyncio.timeout(TAILS_TIMEOUT_SECONDS),
            _consumer(config, "read_uncommitted") as consumer,
        ):
            return (await consumer.end_offsets([place]))[place] > 0


async def _last(
    consumer: _Consumer, place: Place, first: int, end: int, *, awaits_open: bool
) -> ConsumedRecord | None:
    step = STEP_FIRST
    while end > first or awaits_open:
        start = max(first, end - step)
        found = await _last_from(consumer, place, start, awaits_open=awaits_open)
        if found is not None or start == first:
            return found
        step *= STEP_FACTOR
    return None


async def _last_from(
    consumer: _Consumer, place: Place, start: int, *, awaits_open: bool
) -> ConsumedRecord | None:
    """The last record from `start` on."""
    consumer.assign([place])
    consumer.seek(place, start)  # with no await between, or reading would begin elsewhere
    last: Message | None = None
    while True:
        for messages in (await consumer.getmany(timeout_ms=FETCH_WAIT_MILLISECONDS)).values():
            last = messages[-1]
        end = consumer.highwater(place)
        if not awaits_open:
            end = consumer.last_stable_offset(place)
        if end is not None and await consumer.position(place) >= end:
            return None if last is None else consumed(last)


@asynccontextmanager
async def _consumer(config: KafkaConfig, isolation_level: str) -> AsyncIterator[_Consumer]:
    consumer = cast(
        "_Consumer",
        AIOKafkaConsumer(
            **link(config),
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level=isolation_level,
            fetch_max_wait_ms=FETCH_WAIT_MILLISECONDS,
        ),
    )
    async with closing(consumer.stop, STOP_TIMEOUT_SECONDS):
        await consumer.start()
        yield consumer


def consumed(message: Message) -> ConsumedRecord:
    """The client's record as ours."""
    return ConsumedRecord(
        message.topic,
        message.partition,
        message.offset,
        message.timestamp,
        message.key,
        message.value,
        tuple((name, value or b"") for name, value in message.headers),
    )
