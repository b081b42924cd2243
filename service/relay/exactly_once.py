"""Delivery exactly once: records and progress in one Kafka transaction.

Invariants: a session starts its producer before it reads anything, which ends whatever a
predecessor had begun and keeps it out from then on; and after an outcome that is not known
nothing is sent, until the next session has learned it from Kafka. So who reads committed sees
each position once, whoever dies, is paused, or wakes up again. The progress in Postgres is a
mirror for those who look; the lease only lets relays stand by.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime

from service.kafka import (
    Fenced,
    KafkaConfig,
    Slot,
    TopicDescription,
    Topics,
    TransactionalProducer,
)
from service.postgres import Postgres
from service.relay.lease import LeaseLost, Term
from service.relay.progress import ProgressTable, find_standing, found_topic, progress_record
from service.relay.same_topic import SameTopic
from service.relay.standing import Batch, Standing

BATCH_PAGES_MAX = 5  # a transaction takes its time, however little is in it


class ExactlyOnce:
    """For brokers with transactions."""

    def __init__(self, postgres: Postgres, config: KafkaConfig) -> None:
        self._postgres = postgres
        self._config = config

    @asynccontextmanager
    async def session(self, term: Term) -> AsyncIterator[ExactlyOnceSession]:
        config = self._config
        async with Topics.connect(config) as topics:
            topic = await found_topic(topics, config.events_topic)
            progress_topic = await found_topic(topics, config.progress_topic)
            slots = Slots(topic, progress_topic)
            async with fencing(config, slots) as producer:
                start = await find_standing(self._postgres, config, topics, topic, awaits_open=True)
                mirror = ProgressTable(self._postgres, term, topic.id)
                await mirror.record(start)
                same = SameTopic(topics, topic)
                yield ExactlyOnceSession(producer, slots, same, mirror, start)


class Slots:
    """Where a session writes: every partition of the events topic, and the one for progress."""

    def __init__(self, topic: TopicDescription, progress_topic: TopicDescription) -> None:
        self.topic = topic
        self.progress = Slot(progress_topic.name, 0)

    def event_slot(self, partition: int) -> Slot:
        return Slot(self.topic.name, partition)

    @property
    def all(self) -> list[Slot]:
        return [*map(self.event_slot, range(self.topic.partitions)), self.progress]


@asynccontextmanager
async def fencing(config: KafkaConfig, slots: Slots) -> AsyncIterator[TransactionalProducer]:
    """A producer that has put an end to every one before it and to what it had begun.

    Raises Unavailable, ConfigurationError, and LeaseLost where another one came after it.
    """
    identity = config.relay_transactional_id
    async with TransactionalProducer.connect(config, identity) as producer:
        with _lost_where_fenced():
            await producer.settle(slots.all)
        yield producer


class ExactlyOnceSession:
    """Publishes and records in one. `start` is where publishing stood when it began."""

    batch_pages_max = BATCH_PAGES_MAX

    def __init__(
        self,
        producer: TransactionalProducer,
        slots: Slots,
        same: SameTopic,
        mirror: ProgressTable,
        start: Standing,
    ) -> None:
        self.start = start
        self._producer = producer
        self._slots = slots
        self._same = same
        self._mirror = mirror

    async def publish(self, batch: Batch) -> None:
        with _lost_where_fenced():
            self._same.expect_rising(await self._write(batch))
            await self._same.check()  # or the progress would speak of a topic that is no more
            await self._producer.commit()
        await self._mirror.record(batch.after)

    async def check(self) -> None:
        await self._same.check()

    async def _write(self, batch: Batch) -> Mapping[int, int]:
        """The offset of the first record in each partition."""
        slots = self._slots
        progress = progress_record(slots.topic, batch.after, datetime.now(UTC))
        records = {slots.event_slot(number): sent for number, sent in batch.records.items()}
        offsets = await self._producer.write({**records, slots.progress: [progress]})
        return {slot.partition: offsets[slot] for slot in records}


@contextmanager
def _lost_where_fenced() -> Iterator[None]:
    try:
        yield
    except Fenced as error:
        raise LeaseLost from error
