"""A part of the log once more, to a topic of its own, for a subscriber who is new or far behind.

Invariants: each record is the very one that the relay makes, by the same function: key, value,
headers, partition, and a chain of previous positions of its own; at the end every partition has a
watermark at the last position. The topic tells how far it came, so it goes on with nothing twice
and nothing left out. Neither the relay's progress nor a topic of the service is ever touched.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

from service.errors import ConfigurationError, Corrupt, Unavailable
from service.event_log import EventLog, Head, Page
from service.events import Position
from service.kafka import (
    Fenced,
    KafkaConfig,
    Producer,
    Record,
    SideBySide,
    Slot,
    Tail,
    Topic,
    TopicDescription,
    Topics,
    TransactionalProducer,
    check_history,
    partition_for,
    read_tails,
    received,
)
from service.relay.progress import found_topic
from service.relay.standing import Batch, Standing, next_batch, with_watermarks

PAGE_EVENTS_MAX = 5_000  # of one transaction, or of what is acknowledged together


class Asked(NamedTuple):
    """Positions `first` to `last`. `partitions` None: as many as there are, or as events have."""

    topic: str
    first: int
    last: int
    partitions: int | None


class Replayed(NamedTuple):
    """`already`: positions that the topic had when this began."""

    partitions: int
    already: int
    last: int


class Sink(Protocol):
    async def send(self, records: Mapping[int, Sequence[Record]]) -> None:
        """Returns when all of it is there for good. Raises Unavailable."""


async def replay(
    log: EventLog,
    config: KafkaConfig,
    asked: Asked,
    *,
    is_exactly_once: bool,
    on_begun: Callable[[int], None],
    on_sent: Callable[[int], None],
    page_events_max: int = PAGE_EVENTS_MAX,
) -> Replayed:
    """`on_begun` is told how many positions are left, `on_sent` how many more are there.

    Raises Unavailable, after which the same call goes on; ConfigurationError and Corrupt where the
    topic is not this replay's.
    """
    _refuse_topics_of_the_service(config, asked.topic)
    head = await log.head()
    topic = await _topic(config, asked)
    async with _sink(config, topic, is_exactly_once=is_exactly_once) as sink, _one_error():
        start = await _standing(log, config, head, topic, asked)
        already = start.position - asked.first + 1
        on_begun(asked.last - start.position)
        standing = await _send(log, sink, start, asked.last, on_sent, page_events_max)
        await _mark_the_end(sink, standing)
    return Replayed(topic.partitions, already, standing.position)


@asynccontextmanager
async def _one_error() -> AsyncIterator[None]:
    """What ended either of two that worked beside each other."""
    try:
        yield
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from errors


def _refuse_topics_of_the_service(config: KafkaConfig, name: str) -> None:
    if name.startswith("__") or name in {topic.name for topic in config.topics}:
        raise ConfigurationError(f"{name} is a topic of the service or of Kafka: name another one.")


async def _topic(config: KafkaConfig, asked: Asked) -> TopicDescription:
    """Made where it is missing. Raises ConfigurationError where it is not as it has to be."""
    async with Topics.connect(config) as topics:
        there = await topics.describe(asked.topic)
        events = await topics.describe(config.events_topic.name)
        usual = config.events_partitions if events is None else events.partitions
        partitions = asked.partitions or (usual if there is None else there.partitions)
        wanted = Topic(
            asked.topic,
            partitions,
            retention_seconds=config.events_retention_seconds,
            is_stamped_on_arrival=True,
        )
        await topics.create_missing([wanted])
        if faults := await topics.faults([replace(wanted, retention_seconds=None)]):
            raise ConfigurationError(f"Cannot replay to it: {'; '.join(faults)}.")
        return await found_topic(topics, wanted)


@asynccontextmanager
async def _sink(
    config: KafkaConfig, topic: TopicDescription, *, is_exactly_once: bool
) -> AsyncIterator[Sink]:
    if not is_exactly_once:
        async with Producer.connect(config) as producer:
            yield _Plain(producer, topic.name)
        return
    identity = f"{config.topic_prefix}customer.replay.{topic.name}"
    try:
        async with TransactionalProducer.connect(config, identity) as transactional:
            await transactional.settle([Slot(topic.name, n) for n in range(topic.partitions)])
            yield _Transactional(transactional, topic.name)
    except Fenced as error:
        detail = f"Another replay to topic {topic.name} has begun, or Kafka gave this one up."
        raise Unavailable("broker_unavailable", detail) from error


class _Plain:
    def __init__(self, producer: Producer, topic: str) -> None:
        self._producer = producer
        self._topic = topic

    async def send(self, records: Mapping[int, Sequence[Record]]) -> None:
        await self._producer.send(self._topic, records)


class _Transactional:
    """Of several replays to one topic only the one that began last gets anything in."""

    def __init__(self, producer: TransactionalProducer, topic: str) -> None:
        self._producer = producer
        self._topic = topic

    async def send(self, records: Mapping[int, Sequence[Record]]) -> None:
        await self._producer.write({Slot(self._topic, n): each for n, each in records.items()})
        await self._producer.commit()


async def _standing(
    log: EventLog, config: KafkaConfig, head: Head, topic: TopicDescription, asked: Asked
) -> Standing:
    """Where an earlier run of the same replay came to; its beginning where there was none."""
    found = await read_tails(config, topic.name, topic.partitions, awaits_open=True)
    tails = tuple(_tail_position(head, tail) for tail in found)
    await check_history(log, head.epoch, found)
    if not any(tails):
        return Standing(head.epoch, Position(asked.first - 1), (0,) * topic.partitions)
    await _check_beginning(log, config, topic, asked, tails)
    # What was sent together was acknowledged before the next was: so far back all is there.
    certain = max(tails) - PAGE_EVENTS_MAX if min(tails) < max(tails) else max(tails)
    return Standing(head.epoch, Position(max(asked.first - 1, certain)), tails)


def _tail_position(head: Head, tail: Tail) -> int:
    if tail.last_record is None:
        if tail.first_offset > 0:
            raise _not_ours("its records are gone")
        return 0
    last = received(tail.last_record)
    if last is None:
        raise _not_ours("it holds other records")
    if last.epoch != head.epoch:
        raise _not_ours(f"it holds the events of another log (epoch {last.epoch})")
    return last.position


async def _check_beginning(
    log: EventLog,
    config: KafkaConfig,
    topic: TopicDescription,
    asked: Asked,
    tails: Sequence[int],
) -> None:
    """Whether the first event that is asked for is the first that it holds. Whoever stopped within
    the first page may have left the partition of that one empty."""
    page = await log.page(Position(asked.first - 1), limit=1)
    if not page:
        raise Corrupt(f"the log has no event at position {asked.first}")
    partition = partition_for(page[0].customer_id.encode(), topic.partitions)
    firsts = await _firsts(config, topic)
    is_first_page = max(tails) < asked.first + PAGE_EVENTS_MAX
    begins = firsts.get(partition, asked.first if is_first_page else 0)
    if begins != asked.first or min(firsts.values()) < asked.first:
        raise _not_ours(f"it does not begin with position {asked.first}")


async def _firsts(config: KafkaConfig, topic: TopicDescription) -> Mapping[int, int]:
    """The position of the first record of each partition that has one."""
    firsts: dict[int, int] = {}
    async with SideBySide.open(config, topic.name, topic.partitions) as reader:
        for partition in range(topic.partitions):
            if records := await reader.next(partition):
                told = received(records[0])
                firsts[partition] = 0 if told is None else told.position
    return firsts


def _not_ours(why: str) -> ConfigurationError:
    return ConfigurationError(
        f"The topic is not empty and was not begun by this replay: {why}. Name another topic."
    )


async def _send(
    log: EventLog,
    sink: Sink,
    standing: Standing,
    last: int,
    on_sent: Callable[[int], None],
    page_events_max: int,
) -> Standing:
    """The next page is read while one is sent."""

    async def read(after: Position) -> Page:
        return await log.page(after, limit=page_events_max, until=Position(last))

    page = await read(standing.position) if standing.position < last else None
    while page is not None:
        if not page:
            raise Corrupt(f"the log has a hole after position {standing.position}")
        batch = next_batch(standing, page)
        goes_on = batch.after.position < last
        async with asyncio.TaskGroup() as group:
            ahead = group.create_task(read(batch.after.position)) if goes_on else None
            if batch.records:
                await sink.send(batch.records)
        on_sent(batch.after.position - standing.position)
        page, standing = None if ahead is None else ahead.result(), batch.after
    return standing


async def _mark_the_end(sink: Sink, standing: Standing) -> None:
    """Whoever has read it whole knows that, and goes on elsewhere from this position."""
    behind = [n for n, tail in enumerate(standing.tails) if tail < standing.position]
    nothing = Batch({}, standing, 0)
    if marked := with_watermarks(nothing, standing, behind, datetime.now(UTC)).records:
        await sink.send(marked)
