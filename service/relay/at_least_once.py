"""Delivery at least once: progress in Postgres, recorded after Kafka's acknowledgements.

Invariant: a session reads what is really in the topic before it sends anything, so what was
acknowledged and not recorded is not sent again. Only a process that was thought dead and still
sends can repeat records, and every repeat shows by its position.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from service.errors import Unavailable
from service.event_log import EventLog
from service.kafka import (
    KafkaConfig,
    Producer,
    Topic,
    TopicDescription,
    Topics,
    check_history,
    read_tails,
)
from service.postgres import Postgres
from service.relay.lease import LEASE_SECONDS, SQL, LeaseLost, Term
from service.relay.standing import Batch, Progress, Standing, resume


class AtLeastOnce:
    """For brokers without transactions.

    `creates_topics` is for the embedded broker, which forgets its topics with everything else.
    """

    def __init__(
        self, postgres: Postgres, config: KafkaConfig, *, creates_topics: bool = False
    ) -> None:
        self._postgres = postgres
        self._config = config
        self._creates_topics = creates_topics
        self._topic_id: str | None = None  # of the last session

    @asynccontextmanager
    async def session(self, term: Term) -> AsyncIterator[AtLeastOnceSession]:
        async with Topics.connect(self._config) as topics:
            topic = await self._topic(topics)
            start = await find_standing(self._postgres, self._config, topic)
            progress = _ProgressTable(self._postgres, term, topic.id)
            await progress.record(start)
            async with Producer.connect(self._config) as producer:
                yield AtLeastOnceSession(topics, topic, producer, progress, start)

    async def _topic(self, topics: Topics) -> TopicDescription:
        wanted = self._config.events_topic
        if self._creates_topics:
            await topics.create_missing(self._config.topics)
        found = await topics.describe(wanted.name)
        if found is None:
            raise missing_topic(wanted.name)
        if self._creates_topics and self._topic_id not in {None, found.id}:
            found = await self._made_anew(topics, wanted)
        self._topic_id = found.id
        return found

    async def _made_anew(self, topics: Topics, wanted: Topic) -> TopicDescription:
        """The embedded broker was started again while our last producer was still sending.

        It takes records for a topic that it does not know yet, and what then lies under the new
        topic's first offsets can neither be read nor be added to.
        """
        await topics.delete(wanted.name)
        await topics.create_missing([wanted])
        found = await topics.describe(wanted.name)
        if found is None:
            raise missing_topic(wanted.name)
        return found


def missing_topic(name: str) -> Unavailable:
    detail = f"Topic {name} is missing: run `customers migrate`."
    return Unavailable("broker_unavailable", detail)


async def find_standing(
    postgres: Postgres, config: KafkaConfig, topic: TopicDescription
) -> Standing:
    """Where publishing to the topic stands. Raises as `resume` does, and Unavailable."""
    # Invariant: what is recorded is in the topic, and what is in the topic is in the log; so each
    # is read before what must hold it, or a relay that publishes meanwhile would look like a loss.
    recorded = await postgres.fetch_one(Progress, SQL["progress"], topic.name)
    found = await read_tails(config, topic.name, topic.partitions)
    log = EventLog(postgres)
    head = await log.head()
    await check_history(log, head.epoch, found)
    retention_seconds = float(config.events_retention_seconds)
    oldest = await postgres.fetch_one(int, SQL["last_older_than"], retention_seconds)
    return resume(head, topic.id, found, recorded, oldest or 0)


class _ProgressTable:
    """How far one holder of the lease has come; written only while it still holds it."""

    def __init__(self, postgres: Postgres, term: Term, topic_id: str) -> None:
        self._postgres = postgres
        self._term = term
        self._topic_id = topic_id

    async def record(self, standing: Standing) -> None:
        """Raises LeaseLost, and writes nothing, where somebody else has taken the lease."""
        recorded = await self._postgres.fetch_one(
            int,
            SQL["record_progress"],
            self._term.topic,
            self._term.generation,
            LEASE_SECONDS,
            self._topic_id,
            standing.epoch,
            standing.position,
            list(standing.tails),
        )
        if recorded is None:
            raise LeaseLost


class AtLeastOnceSession:
    """Publishes and records. `start` is where publishing stood when it began."""

    def __init__(
        self,
        topics: Topics,
        topic: TopicDescription,
        producer: Producer,
        progress: _ProgressTable,
        start: Standing,
    ) -> None:
        self.start = start
        self._topics = topics
        self._topic = topic
        self._producer = producer
        self._progress = progress
        self._offsets: dict[int, int] = {}  # per partition, of the first record of the last batch

    async def publish(self, batch: Batch) -> None:
        if batch.records:
            self._expect_rising(await self._producer.send(self._topic.name, batch.records))
        await self._progress.record(batch.after)

    async def check(self) -> None:
        found = await self._topics.describe(self._topic.name)
        if found is None or found.id != self._topic.id:
            detail = f"Topic {self._topic.name} was deleted or made again."
            raise Unavailable("broker_unavailable", detail)

    def _expect_rising(self, offsets: Mapping[int, int]) -> None:
        """Raises Unavailable where a partition began anew under us: records before are lost."""
        for partition, offset in offsets.items():
            if offset <= self._offsets.get(partition, -1):
                detail = f"Topic {self._topic.name} has lost records."
                raise Unavailable("broker_unavailable", detail)
        self._offsets |= offsets
