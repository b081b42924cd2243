"""A log, its events topic and relays between them, for tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import uuid4

import pytest

from service.appender import Appender
from service.event_log import EventLog
from service.events import CustomerTagged
from service.kafka import (
    ConsumedRecord,
    KafkaConfig,
    ReceivedEvent,
    Tail,
    Topics,
    read_tails,
    received,
)
from service.postgres import Postgres
from service.relay import (
    AtLeastOnce,
    Delivery,
    ExactlyOnce,
    Lease,
    NoMetrics,
    Relay,
    Standing,
)
from tests.servers.server import Handle, Wipeable
from tests.support.logs import a_change, a_creation, appending
from tests.support.topics import events_of, read_topic
from tests.support.vaults import VAULT

EXACTLY_ONCE = "exactly-once"
AT_LEAST_ONCE = "at-least-once"
DELIVERIES = (pytest.param(EXACTLY_ONCE, marks=pytest.mark.real_kafka), AT_LEAST_ONCE)


class Observed(NoMetrics):
    """What a relay told about itself."""

    def __init__(self) -> None:
        self.events = 0
        self.sizes: list[int] = []  # of batches with events
        self.failures: list[str] = []
        self.lags: list[int] = []
        self.begun: list[int] = []  # positions

    def begins(self, position: int) -> None:
        self.begun.append(position)

    def published(self, position: int, events: int) -> None:  # noqa: ARG002
        self.events += events
        if events:
            self.sizes.append(events)

    def failed(self, code: str, detail: str) -> None:  # noqa: ARG002
        self.failures.append(code)

    def lag(self, events: int, seconds: float) -> None:  # noqa: ARG002
        self.lags.append(events)


@dataclass
class World:
    """A log, its events topic, and what a test does to them."""

    postgres: Postgres
    appender: Appender
    config: KafkaConfig
    delivers: str
    observed: Observed = field(default_factory=Observed)

    @property
    def topic(self) -> str:
        return self.config.events_topic.name

    def delivery(self, *, creates_topics: bool = False) -> Delivery:
        if self.delivers == EXACTLY_ONCE:
            return ExactlyOnce(self.postgres, self.config)
        return AtLeastOnce(self.postgres, self.config, creates_topics=creates_topics)

    def relay(self, *, batch_events_max: int = 1_000, creates_topics: bool = False) -> Relay:
        return Relay(
            self.postgres,
            EventLog(self.postgres, VAULT),
            self.delivery(creates_topics=creates_topics),
            Lease(self.postgres, self.topic),
            metrics=self.observed,
            batch_events_max=batch_events_max,
        )

    def settings(self, database_url: str) -> dict[str, str]:
        """What a command has to be told, without the prefix."""
        return {
            "DATABASE_URL": database_url,
            "KAFKA_BOOTSTRAP_SERVERS": self.config.bootstrap_servers,
            "KAFKA_TOPIC_PREFIX": self.config.topic_prefix,
            "KAFKA_IDEMPOTENCE": str(self.config.idempotence).lower(),
        }

    async def append(self, customers: int) -> None:
        """A creation and two changes for each of so many new customers, all at once."""
        creations = [a_creation(f"{uuid4().hex}@example.com") for _ in range(customers)]
        await asyncio.gather(*(self.appender.append(each) for each in creations))
        tags = CustomerTagged(tags=("a",)), CustomerTagged(tags=("b",))
        changes = [a_change(each.customer_id, 1, *tags) for each in creations]
        await asyncio.gather(*(self.appender.append(each) for each in changes))

    async def head(self) -> int:
        return (await EventLog(self.postgres).head()).position

    async def records(self) -> list[ConsumedRecord]:
        return await read_topic(self.config.bootstrap_servers, self.topic)

    async def events(self) -> list[ReceivedEvent]:
        return events_of(await self.records())

    async def recorded(self) -> Standing | None:
        return await self.postgres.fetch_one(
            lambda epoch, position, tails: Standing(epoch, position, tuple(tails)),
            "SELECT epoch, position, tails FROM relay.progress WHERE topic = $1",
            self.topic,
        )

    async def all_is_recorded(self) -> bool:
        """And can be read: a commit is answered a moment before its records can."""
        recorded = await self.recorded()
        if recorded is None or recorded.position != await self.head():
            return False
        found = await read_tails(self.config, self.topic, len(recorded.tails))
        return all(map(_is_readable, found, recorded.tails))


def _is_readable(tail: Tail, position: int) -> bool:
    """Up to this position of its partition; of one that has run empty, nothing is left to read."""
    if tail.last_record is None:
        return position == 0 or tail.first_offset > 0
    last = received(tail.last_record)
    return last is not None and last.position >= position


@asynccontextmanager
async def a_world(
    database: str, kafka: Handle, suffix: str, delivers: str | None = None
) -> AsyncIterator[World]:
    """`delivers` None: as is the default on such a broker."""
    delivers = delivers or (EXACTLY_ONCE if kafka.server.real_kafka else AT_LEAST_ONCE)
    config = KafkaConfig(
        kafka.server.address, topic_prefix=f"{suffix}.", idempotence=kafka.server.real_kafka
    )
    async with Topics.connect(config) as topics:
        await topics.create_missing(config.topics)
    async with Postgres.connect(database) as postgres, appending(postgres) as appender:
        yield World(postgres, appender, config, delivers)


@asynccontextmanager
async def running(*relays: Relay) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks:
        for relay in relays:
            tasks.create_task(relay.run())
        try:
            yield
        finally:
            for relay in relays:
                relay.stop()


async def is_true(condition: bool) -> bool:
    return condition


async def make_old(postgres: Postgres, up_to: int) -> None:
    """As if those events had been recorded long ago."""
    async with postgres.transaction() as transaction:
        await transaction.execute("ALTER TABLE log.event DISABLE TRIGGER event_append_only")
        await transaction.execute(
            "UPDATE log.event SET recorded_at = now() - interval '8 days' WHERE position <= $1",
            up_to,
        )
        await transaction.execute("ALTER TABLE log.event ENABLE TRIGGER event_append_only")


async def wipe(world: World, kafka: Wipeable) -> None:
    """And migrate, where the relay does not make its topics itself."""
    await kafka.wipe()
    if world.delivers == EXACTLY_ONCE:
        async with Topics.connect(world.config) as topics:
            await topics.create_missing(world.config.topics)
