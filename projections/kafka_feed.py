"""Batches from the events topic, each partition read by one worker of a group.

Invariants: Kafka is never trusted to be complete, or to be the topic it was: where a partition goes
on is said by our checkpoint, what Kafka lacks is read from the log, and what the log does not have
is not read at all. Offsets that are committed
are for dashboards.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from time import monotonic
from typing import Protocol

from projections.chain import Chain, Gap
from projections.checkpoint import CUSTOMERS, Checkpoints, Move
from projections.feed import BATCH_EVENTS_MAX, NOTHING, Batch
from projections.observing import NoMetrics, ProjectionMetrics
from service.errors import Corrupt, Unavailable
from service.event_log import EventLog
from service.events import Position
from service.kafka import (
    ConsumedRecord,
    Consumer,
    KafkaConfig,
    TopicCheck,
    Topics,
    check_history,
    read_tails,
)

FETCH_WAIT_SECONDS = 0.1
MOVE_SECONDS = 0.02  # between moves of the checkpoint that come without events
GROUP_SUFFIX = "-projection-v1"  # whichever version is read: else each change of it is a rebalance
COMMIT_SECONDS = 5.0  # between commits of offsets, which only dashboards read


class Records(Protocol):
    """What is used of a consumer."""

    async def fetch(self, *, wait_seconds: float, records_max: int) -> list[ConsumedRecord]: ...
    def seek(self, partition: int, offset: int) -> None: ...
    async def commit(self, offsets: Mapping[int, int]) -> None: ...


class KafkaSource:
    """Feeds from the topic of one Kafka, with the log of one database behind it."""

    def __init__(
        self,
        kafka: KafkaConfig,
        log: EventLog,
        checkpoints: Checkpoints,
        *,
        projection: str = CUSTOMERS.name,
        metrics: ProjectionMetrics | None = None,
        batch_events_max: int = BATCH_EVENTS_MAX,
    ) -> None:
        self._kafka = kafka
        self._log = log
        self._checkpoints = checkpoints
        self._group_id = f"{kafka.topic_prefix}{projection}{GROUP_SUFFIX}"
        self._metrics = metrics or NoMetrics()
        self._batch_events_max = batch_events_max

    @asynccontextmanager
    async def open(self) -> AsyncIterator[KafkaFeed]:
        head = await self._log.head()
        topic = self._kafka.events_topic.name
        async with Topics.connect(self._kafka) as topics:
            found = await topics.describe(topic)
            if found is None:
                raise Unavailable("broker_unavailable", f"There is no topic {topic}: run migrate.")
            await self._checkpoints.take_over(range(found.partitions), head.epoch, found.id)
            tails = await read_tails(self._kafka, topic, found.partitions)
            await check_history(self._log, head.epoch, tails)
            assignment = Assignment(Chain(head.epoch), self._checkpoints, found.partitions)
            async with Consumer.join(
                self._kafka,
                topic,
                self._group_id,
                assigned=assignment.assigned,
                revoked=assignment.revoked,
            ) as consumer:
                yield KafkaFeed(
                    consumer,
                    assignment.chain,
                    TopicCheck(topics, found),
                    self._log,
                    self._checkpoints,
                    metrics=self._metrics,
                    batch_events_max=self._batch_events_max,
                )


class Assignment:
    """What the group gives this worker, and takes away, at any time."""

    def __init__(self, chain: Chain, checkpoints: Checkpoints, partitions: int) -> None:
        self.chain = chain
        self._checkpoints = checkpoints
        self._partitions = partitions

    async def assigned(self, partitions: frozenset[int]) -> Mapping[int, int]:
        """The offsets to read from."""
        if partitions and max(partitions) >= self._partitions:
            raise Unavailable("broker_unavailable", "The topic has got more partitions.")
        places = await self._checkpoints.places(partitions)
        return {partition: self.chain.begin(place) for partition, place in places.items()}

    async def revoked(self, partitions: frozenset[int]) -> None:
        """A batch in hand may still be written: then the next owner finds that it lost, and
        begins where that batch ends."""
        self.chain.forget(partitions)


class KafkaFeed:
    """Reads what is assigned, and from the log what is missing in it."""

    def __init__(
        self,
        records: Records,
        chain: Chain,
        topic_check: TopicCheck,
        log: EventLog,
        checkpoints: Checkpoints,
        *,
        metrics: ProjectionMetrics,
        batch_events_max: int = BATCH_EVENTS_MAX,
    ) -> None:
        self._records = records
        self._chain = chain
        self._topic_check = topic_check
        self._log = log
        self._checkpoints = checkpoints
        self._metrics = metrics
        self._batch_events_max = batch_events_max
        self._log_position = 0  # of the log's end, when it was last looked at
        self._moved_at = 0.0
        self._committed_at = monotonic()

    async def next(self) -> Batch:
        if (gap := self._chain.gap) is not None:
            return await self._bridge(gap)
        await self._topic_check.check()
        records = self._chain.take_held() or await self._fetch()
        events = self._chain.offer(records)
        if events or monotonic() - self._moved_at >= MOVE_SECONDS:
            moves = self._chain.moves()
            await self._expect_in_log(moves)
            return Batch(events, moves)
        return NOTHING

    async def applied(self, batch: Batch) -> None:
        self._chain.settle(batch.moves)
        self._moved_at = monotonic()
        if self._moved_at - self._committed_at >= COMMIT_SECONDS:
            self._committed_at = self._moved_at
            with suppress(Unavailable):  # dashboards can wait
                await self._records.commit(self._chain.offsets)

    async def lost(self, batch: Batch) -> None:
        """Read all of it again: the whole batch was refused, whoever has moved which partition."""
        partitions = self._chain.partitions & {move.seen.partition for move in batch.moves}
        for partition, place in (await self._checkpoints.places(partitions)).items():
            self._records.seek(partition, self._chain.begin(place))

    async def _fetch(self) -> list[ConsumedRecord]:
        wait_seconds = MOVE_SECONDS if self._chain.moves() else FETCH_WAIT_SECONDS
        return await self._records.fetch(
            wait_seconds=wait_seconds, records_max=self._batch_events_max
        )

    async def _expect_in_log(self, moves: Sequence[Move]) -> None:
        """What is published was in the log before. Raises Corrupt where the log was set back."""
        position = max((move.position for move in moves), default=0)
        if position > self._log_position:
            self._log_position = (await self._log.head()).position
        if position > self._log_position:
            raise Corrupt(
                f"Kafka or the read model knows position {position}, and the log ends at"
                f" {self._log_position}: the log was set back. Restore it whole, or stop every"
                " role and run `customers log new-epoch`"
            )

    async def _bridge(self, gap: Gap) -> Batch:
        """The next page of what is missing: whole, since the log knows no partitions."""
        page = await self._log.page(
            Position(gap.after), limit=self._batch_events_max, until=Position(gap.until)
        )
        if not page or page[-1].position != gap.after + len(page):
            raise Corrupt(
                f"Kafka knows position {gap.until}, and the log has a hole after {gap.after}:"
                " it was set back. Restore it whole, or stop every role and run `customers log"
                " new-epoch`"
            )
        self._metrics.healed(len(page))
        last = page[-1]
        return Batch(page, self._chain.moves_over(last.position, last.time, gap.after))
