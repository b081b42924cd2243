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
from service.kafka.link import STOP_TIMEOUT_SECONDS, closing, link, our_errors
from service.kafka.records import ConsumedRecord

TAILS_TIMEOUT_SECONDS = 10.0
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


class Assigned(Protocol):
    """A consumer that reads the partitions it is given, of no group."""

    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    def assign(self, partitions: Sequence[Place]) -> None: ...
    def seek(self, partition: Place, offset: int) -> None: ...
    async def position(self, partition: Place) -> int: ...
    def highwater(self, partition: Place) -> int | None: ...
    def last_stable_offset(self, partition: Place) -> int | None: ...
    async def beginning_offsets(self, partitions: Sequence[Place]) -> Mapping[Place, int]: ...


class _Consumer(Assigned, Protocol):
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
            lasts = await _lasts(consumer, firsts, ends, awaits_open=awaits_open)
    return [Tail(firsts[place], lasts.get(place)) for place in places]


async def is_written(config: KafkaConfig, topic: str) -> bool:
    """Whether anything was ever sent to the first partition, and be it not committed yet."""
    place = cast("Place", TopicPartition(topic, 0))
    with our_errors():
        async with (
            asyncio.timeout(TAILS_TIMEOUT_SECONDS),
            _consumer(config, "read_uncommitted") as consumer,
        ):
            return (await consumer.end_offsets([place]))[place] > 0


async def _lasts(
    consumer: _Consumer,
    firsts: Mapping[Place, int],
    ends: Mapping[Place, int],
    *,
    awaits_open: bool,
) -> Mapping[Place, ConsumedRecord]:
    """The last record of each place that has one: looked for from further and further back."""
    found: dict[Place, ConsumedRecord] = {}
    looked_in = [place for place in firsts if awaits_open or ends[place] > firsts[place]]
    step = STEP_FIRST
    while looked_in:
        starts = {place: max(firsts[place], ends[place] - step) for place in looked_in}
        found |= await _lasts_from(consumer, starts, awaits_open=awaits_open)
        looked_in = [
            place for place in looked_in if place not in found and starts[place] > firsts[place]
        ]
        step *= STEP_FACTOR
    return found


async def _lasts_from(
    consumer: _Consumer, starts: Mapping[Place, int], *, awaits_open: bool
) -> Mapping[Place, ConsumedRecord]:
    """The last record of each place from where it starts, if there is one."""
    consumer.assign(list(starts))
    for place, start in starts.items():
        consumer.seek(place, start)  # with no await before, or reading would begin elsewhere
    last: dict[Place, Message] = {}
    behind = list(starts)
    while behind:
        found = await consumer.getmany(timeout_ms=FETCH_WAIT_MILLISECONDS)
        last |= {place: messages[-1] for place, messages in found.items()}
        behind = [
            place
            for place in behind
            if not await _is_at_end(consumer, place, awaits_open=awaits_open)
        ]
    return {place: consumed(message) for place, message in last.items()}


async def _is_at_end(consumer: _Consumer, place: Place, *, awaits_open: bool) -> bool:
    end = consumer.highwater(place) if awaits_open else consumer.last_stable_offset(place)
    return end is not None and await consumer.position(place) >= end


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
