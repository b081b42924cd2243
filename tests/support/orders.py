"""A shop that publishes orders, and intakes that take them in, for tests."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import confluent_kafka
import orjson

from service.events import CustomerDeleted
from service.identifiers import CustomerId
from service.kafka import ConsumedRecord, KafkaConfig
from service.order_intake import REASONS, Intake, NoMetrics, OrderMessage, read_message
from service.order_intake.intake import OBSERVE_SECONDS
from service.postgres import Postgres
from tests.support.logs import a_change, a_creation
from tests.support.relays import World
from tests.support.topics import eventually, read_topic

FLUSH_SECONDS = 20.0
QUICKLY_SECONDS = 0.2  # between the looks of an intake, where a test would wait for one

Headers = list[tuple[str, bytes | None]]


def an_order(order_id: str, version: int, customer_id: str, **fields: object) -> dict[str, object]:
    """What a shop sends; a field given as ... is left out."""
    order = {
        "orderId": order_id,
        "orderVersion": version,
        "customerId": customer_id,
        "status": "paid",
        "currency": "USD",
        "total": 1_000,
        "placedAt": "2024-03-10T08:00:00Z",
        **fields,
    }
    return {name: value for name, value in order.items() if value is not ...}


def a_record(
    value: object, headers: Sequence[tuple[str, bytes]] = (), **fields: int
) -> ConsumedRecord:
    """A value that is no bytes is sent as JSON."""
    data = value if value is None or isinstance(value, bytes) else orjson.dumps(value)
    place = {"partition": 0, "offset": 7, "timestamp_ms": 1_710_057_600_000, **fields}
    return ConsumedRecord("orders", key=b"key", value=data, headers=tuple(headers), **place)


def a_message(order_id: str, version: int, customer_id: str, **fields: object) -> OrderMessage:
    message = read_message(a_record(an_order(order_id, version, customer_id, **fields)))
    assert isinstance(message, OrderMessage), message
    return message


class Observed(NoMetrics):
    """What intakes told about themselves."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.letters: Counter[str] = Counter()
        self.batches = 0
        self.failures: list[str] = []
        self.ages: list[float] = []
        self.lag_messages = -1

    def taken_in(self, outcomes: Mapping[str, int]) -> None:
        self.batches += 1
        self.outcomes.update(outcomes)

    def dead(self, reason: str, messages: int) -> None:
        self.letters[reason] += messages

    def lag(self, messages: int) -> None:
        self.lag_messages = messages

    def oldest_dead_letter(self, age_seconds: float) -> None:
        self.ages.append(age_seconds)

    def failed(self, code: str) -> None:
        self.failures.append(code)


@dataclass
class Shop:
    """A log with tenant `default`, an orders topic, and what a test does to them."""

    world: World
    observed: Observed = field(default_factory=Observed)

    @property
    def config(self) -> KafkaConfig:
        return self.world.config

    @property
    def postgres(self) -> Postgres:
        return self.world.postgres

    def intake(
        self,
        *,
        observed: Observed | None = None,
        batch_messages_max: int = 2_000,
        creates_topics: bool = False,
        observe_seconds: float = OBSERVE_SECONDS,
    ) -> Intake:
        """`observed`: apart from what others are told."""
        return Intake(
            self.postgres,
            self.config,
            metrics=observed or self.observed,
            batch_messages_max=batch_messages_max,
            creates_topics=creates_topics,
            observe_seconds=observe_seconds,
        )

    async def customers(self, count: int) -> list[CustomerId]:
        creations = [
            a_creation(f"c{number}@{self.config.topic_prefix}example.com")
            for number in range(count)
        ]
        await asyncio.gather(*(self.world.appender.append(each) for each in creations))
        return [each.customer_id for each in creations]

    async def delete(self, customer_id: CustomerId, version: int) -> None:
        deletion = a_change(customer_id, version, CustomerDeleted())
        await self.world.appender.append(deletion._replace(closes_stream=True))

    async def publish(self, orders: Iterable[Mapping[str, object]]) -> None:
        await self.send(
            [(str(order["orderId"]).encode(), orjson.dumps(order), []) for order in orders]
        )

    async def send(
        self,
        records: Sequence[tuple[bytes | None, bytes | None, Headers]],
        *,
        compression: str = "none",
    ) -> None:
        """By a client that is not ours; the partition follows from the key."""
        await asyncio.to_thread(
            send,
            self.config.bootstrap_servers,
            self.config.orders_topic.name,
            records,
            compression,
        )

    async def dead_letters(self) -> list[ConsumedRecord]:
        topic = self.config.orders_dead_letter_topic.name
        return await read_topic(self.config.bootstrap_servers, topic)

    async def orders(self) -> list[ConsumedRecord]:
        return await read_topic(self.config.bootstrap_servers, self.config.orders_topic.name)

    async def accepted(self) -> dict[str, int]:
        """The version of each order that was accepted last."""
        rows = await self.postgres.fetch(
            lambda order_id, version: (order_id, version),
            "SELECT order_id, order_version FROM log.accepted_order",
        )
        return dict(rows)

    async def takes_in(self, **outcomes: int) -> float:
        """Wait until so many messages had these outcomes in all, or were put aside for these
        reasons."""
        observed = self.observed

        async def are_in() -> bool:
            return all(
                (observed.letters if name in REASONS else observed.outcomes)[name] >= count
                for name, count in outcomes.items()
            )

        return await eventually(are_in, 40)


def send(
    servers: str,
    topic: str,
    records: Sequence[tuple[bytes | None, bytes | None, Headers]],
    compression: str,
) -> None:
    producer = confluent_kafka.Producer(
        {
            "bootstrap.servers": servers,
            "partitioner": "murmur2_random",
            "linger.ms": 2,
            "compression.type": compression,
            "message.max.bytes": 10_000_000,
        }
    )
    for key, value, headers in records:
        producer.produce(topic, value, key, headers=headers)
    assert producer.flush(FLUSH_SECONDS) == 0


async def add_tenant(postgres: Postgres, name: str, currency: str = "USD") -> None:
    await postgres.execute(
        "INSERT INTO access.tenant (name, currency) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        name,
        currency,
    )


@asynccontextmanager
async def running(*intakes: Intake) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks:
        for intake in intakes:
            tasks.create_task(intake.run())
        try:
            yield
        finally:
            for intake in intakes:
                intake.stop()
