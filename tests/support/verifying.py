"""A system with traffic of every kind, and what a verification finds in it, for tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import uuid4

from projections.verification import Compared, verify_read_model
from service.command_handler import CommandHandler
from service.customer import (
    AddAddress,
    AddTags,
    CreateCustomer,
    DeleteCustomer,
    RemoveTags,
    UpdateCustomer,
)
from service.errors import ConfigurationError, Corrupt
from service.event_log import EventLog, Key
from service.events import CustomerChanges
from service.findings import Finding, Findings, Kind, Where
from service.identifiers import CustomerId, new_customer_id
from service.kafka import ConsumedRecord, KafkaConfig, Producer, Record, Topics
from service.order_intake.recorder import Recorder
from service.postgres import Postgres
from service.relay import AtLeastOnce, Lease, Relay, published_position
from service.verification import LogCompared, verify_log, verify_states, verify_topic
from tests.servers.databases import Databases
from tests.servers.server import Handle
from tests.support.histories import an_address
from tests.support.logs import a_request
from tests.support.orders import a_message
from tests.support.projections import Projected, running
from tests.support.relays import running as relaying
from tests.support.states import Written, a_written, writing
from tests.support.topics import eventually, read_topic
from tests.support.vaults import VAULT


class Watched:
    """What a verification told about its progress: by part, how often and how much."""

    def __init__(self) -> None:
        self.totals: dict[str, int] = {}
        self.steps: dict[str, list[int]] = {}
        self._part = ""

    def begin(self, part: str, total: int) -> None:
        self._part = part
        self.totals[part] = total
        self.steps[part] = []

    def advance(self, count: int) -> None:
        self.steps[self._part].append(count)


@dataclass
class Sizes:
    """Of the pieces in which a verification looks."""

    page_events_max: int = 1_000
    customers_max: int = 200
    bucket_customers_max: int = 100_000


@dataclass
class System:
    """Log, events topic, read model and topic of states, and what a test does to them."""

    written: Written
    watched: Watched = field(default_factory=Watched)
    log: LogCompared | None = None  # of the last verification
    compared: Compared | None = None
    records: int = 0
    states: int = 0
    _number: int = 0

    @property
    def postgres(self) -> Postgres:
        return self.written.model.postgres

    @property
    def model(self) -> Projected:
        return self.written.model

    @property
    def config(self) -> KafkaConfig:
        return self.written.config

    @property
    def topic(self) -> str:
        return self.config.events_topic.name

    @property
    def handler(self) -> CommandHandler:
        return CommandHandler(EventLog(self.postgres, VAULT), self.model.appender)

    def relay(self) -> Relay:
        delivery = AtLeastOnce(self.postgres, self.config)
        log = EventLog(self.postgres, VAULT)
        return Relay(self.postgres, log, delivery, Lease(self.postgres, self.topic))

    async def customer(self, *, tenant: str = "default", orders: int = 2) -> CustomerId:
        """Made, changed in every way, with orders that were changed as well."""
        customer_id, handler = new_customer_id(), self.handler
        email = f"{uuid4().hex}@example.com"
        key = Key(uuid4().hex, b"fingerprint", 201)
        creation = CreateCustomer(
            id=customer_id, email=email, first_name="Zoë", tags=("vip", "a b"), metadata={"a": 1.5}
        )
        await handler.handle(a_request(customer_id, creation, key=key, tenant=tenant))
        for command in (
            UpdateCustomer(changes=CustomerChanges(email=f"new.{email}", first_name="Jane")),
            AddAddress(an_address("addr_1", is_default=True)),
            AddTags(("wholesale",)),
            RemoveTags(("vip",)),
        ):
            await handler.handle(a_request(customer_id, command, tenant=tenant))
        for number in range(orders):
            await self.order(customer_id, f"{customer_id}_{number}", 1, tenant=tenant)
            await self.order(customer_id, f"{customer_id}_{number}", 3, tenant=tenant, refunded=300)
        return customer_id

    async def order(
        self,
        customer_id: CustomerId,
        order_id: str,
        version: int,
        *,
        tenant: str = "default",
        **fields: object,
    ) -> None:
        message = a_message(order_id, version, customer_id, **fields)
        (outcome,) = await Recorder(self.postgres).record([message._replace(tenant=tenant)])
        assert outcome == "recorded"

    async def delete(self, customer_id: CustomerId, *, tenant: str = "default") -> None:
        await self.handler.handle(a_request(customer_id, DeleteCustomer(), tenant=tenant))

    async def traffic(self, customers: int = 5) -> list[CustomerId]:
        """So many who live; and one who was deleted, with an order that came later."""
        living = [await self.customer() for _ in range(customers)]
        await self.customer(tenant="other")
        gone = await self.customer()
        await self.delete(gone)
        await self.order(gone, f"{gone}_late", 1, currency="EUR")
        return living

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        async with (
            relaying(self.relay()),
            running(self.model.runner()),
            writing(self.written.worker()),
        ):
            yield

    async def settle(self) -> None:
        """Let everything catch up, and stop."""
        async with self.at_work():
            await eventually(self.is_settled)

    async def is_settled(self) -> bool:
        head = (await EventLog(self.postgres).head()).position
        return (
            await published_position(self.postgres, self.config) == head
            and await self.model.is_up_to_date()
            and await self.written.is_up_to_date()
        )

    async def verify_topic(
        self, *, page_events_max: int = 1_000, config: KafkaConfig | None = None
    ) -> Findings:
        findings, config = Findings(), config or self.config
        published = await self._published()
        arguments = self.postgres, VAULT, config, published, findings, self.watched
        self.records = await verify_topic(*arguments, page_events_max=page_events_max)
        return findings

    async def verify(self, sizes: Sizes | None = None) -> Findings:
        sizes, findings, watched = sizes or Sizes(), Findings(), self.watched
        self.log = await verify_log(self.postgres, VAULT, findings, watched)
        self.records = await verify_topic(
            *(self.postgres, VAULT, self.config, await self._published(), findings, watched),
            page_events_max=sizes.page_events_max,
        )
        self.compared = await verify_read_model(
            self.postgres, VAULT, findings, watched, customers_max=sizes.customers_max
        )
        self.states = await verify_states(
            self.postgres,
            self.config,
            findings,
            watched,
            bucket_customers_max=sizes.bucket_customers_max,
        )
        return findings

    async def _published(self) -> int:
        try:
            return await published_position(self.postgres, self.config)
        except (ConfigurationError, Corrupt):
            return 0

    async def damage(self, *statements: str) -> None:
        """What nobody can do but who owns the database, and switches its guards off."""
        async with self.postgres.transaction() as transaction:
            await transaction.execute("SET LOCAL session_replication_role = replica")
            for statement in statements:
                await transaction.execute(statement)

    @asynccontextmanager
    async def mended(self, *tables: str) -> AsyncIterator[None]:
        """At the end these tables are as they were."""
        for number, table in enumerate(tables):
            await self.postgres.execute(f"CREATE TABLE public.saved_{number} AS TABLE {table}")
        try:
            yield
        finally:
            for number, table in enumerate(tables):
                saved = f"public.saved_{number}"
                again = f"INSERT INTO {table} OVERRIDING SYSTEM VALUE SELECT * FROM {saved}"  # noqa: S608
                await self.damage(f"DELETE FROM {table}", again, f"DROP TABLE {saved}")  # noqa: S608

    async def craft(self, topic: str, records: dict[int, list[ConsumedRecord]]) -> None:
        """Make a topic anew that holds these, by partition."""
        async with Topics.connect(self.config) as topics:
            await topics.delete(topic)
            await topics.create_missing(self.config.topics)
        async with Producer.connect(self.config) as producer:
            await producer.send(
                topic,
                {
                    partition: [
                        Record(each.key, each.value, each.headers, each.timestamp_ms)
                        for each in of_one
                    ]
                    for partition, of_one in records.items()
                },
            )

    async def healed(self, records: dict[int, list[ConsumedRecord]]) -> System:
        """The topic of events made anew of these, in which nothing is found."""
        await self.craft(self.topic, records)
        assert (await self.verify_topic()).listed == []
        return self

    async def records_of(self, topic: str) -> dict[int, list[ConsumedRecord]]:
        found: dict[int, list[ConsumedRecord]] = {}
        for record in await read_topic(self.config.bootstrap_servers, topic):
            found.setdefault(record.partition, []).append(record)
        return found


@asynccontextmanager
async def a_system(database: str, kafka: Handle, suffix: str) -> AsyncIterator[System]:
    async with a_written(database, kafka, suffix) as written:
        yield System(written)


@asynccontextmanager
async def a_system_alone(databases: Databases, kafka: Handle) -> AsyncIterator[System]:
    """One that several tests share, on a database of its own."""
    url = await databases.create()
    async with a_system(url, kafka, uuid4().hex[:12]) as system:
        yield system
    await databases.drop(url)


def said(findings: Findings) -> set[tuple[Where, Kind]]:
    return set(findings.counts)


def of(findings: Findings, where: Where, kind: Kind) -> list[Finding]:
    return [each for each in findings.listed if (each.where, each.kind) == (where, kind)]


async def busy(system: System, stop: asyncio.Event) -> None:
    """Traffic until told to stop."""
    while not stop.is_set():
        await system.traffic(1)
