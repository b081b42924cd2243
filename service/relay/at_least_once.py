"""Delivery at least once: progress in Postgres, recorded after Kafka's acknowledgements.

Invariant: a session reads what is really in the topic before it sends anything, so what was
acknowledged and not recorded is not sent again. Only a process that was thought dead and still
sends can repeat records, and every repeat shows by its position.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from service.kafka import KafkaConfig, Producer, Topic, TopicDescription, Topics, is_written
from service.postgres import Postgres
from service.relay.exactly_once import Slots, fencing
from service.relay.lease import Term
from service.relay.progress import ProgressTable, find_standing, found_topic
from service.relay.same_topic import SameTopic
from service.relay.standing import Batch, Standing


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
            await self._end_transactions(topics, topic)
            start = await find_standing(
                self._postgres, self._config, topics, topic, awaits_open=True
            )
            progress = ProgressTable(self._postgres, term, topic.id)
            await progress.record(start)
            async with Producer.connect(self._config) as producer:
                same = SameTopic(topics, topic)
                yield AtLeastOnceSession(topic, producer, same, progress, start)

    async def _topic(self, topics: Topics) -> TopicDescription:
        wanted = self._config.events_topic
        if self._creates_topics:
            await topics.create_missing(self._config.topics)
        found = await found_topic(topics, wanted)
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
        return await found_topic(topics, wanted)

    async def _end_transactions(self, topics: Topics, topic: TopicDescription) -> None:
        """Keep out a relay that delivered exactly once before, and end what it left open."""
        progress_topic = await topics.describe(self._config.progress_topic.name)
        if progress_topic is None or not await is_written(self._config, progress_topic.name):
            return
        async with fencing(self._config, Slots(topic, progress_topic)):
            pass


class AtLeastOnceSession:
    """Publishes and records. `start` is where publishing stood when it began."""

    batch_pages_max = 1

    def __init__(
        self,
        topic: TopicDescription,
        producer: Producer,
        same: SameTopic,
        progress: ProgressTable,
        start: Standing,
    ) -> None:
        self.start = start
        self._topic = topic
        self._producer = producer
        self._same = same
        self._progress = progress

    async def publish(self, batch: Batch) -> None:
        if batch.records:
            self._same.expect_rising(await self._producer.send(self._topic.name, batch.records))
        await self._progress.record(batch.after)

    async def check(self) -> None:
        await self._same.check()
