"""A log, its read model and its topic of states, for tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random

from projections.checkpoint import Checkpoints
from projections.state_store import STATES, StateStore
from projections.state_writer import Sender, StateWriter
from projections.states import SHUTDOWN_TIMEOUT_SECONDS, NoStatesMetrics, States
from service.event_log import EventLog
from service.kafka import SWEEP_KEY, ConsumedRecord, KafkaConfig, Topics
from tests.servers.server import Handle
from tests.support.projections import CURRENCIES, Projected, a_history, append_history
from tests.support.relays import a_world
from tests.support.topics import read_topic


class Observed(NoStatesMetrics):
    """What workers told about themselves."""

    def __init__(self) -> None:
        self.events = 0
        self.failures: list[str] = []
        self.lag: tuple[int, int, float] = (0, 0, 0.0)

    def written(self, events: int) -> None:
        self.events += events

    def progress(self, position: int, lag_events: int, lag_seconds: float) -> None:
        self.lag = position, lag_events, lag_seconds

    def failed(self, code: str, detail: str) -> None:  # noqa: ARG002
        self.failures.append(code)


@dataclass
class Written:
    """A log with its read model, what is written of it, and what a test does to them."""

    model: Projected
    config: KafkaConfig
    observed: Observed = field(default_factory=Observed)

    @property
    def topic(self) -> str:
        return self.config.state_topic.name

    def worker(
        self,
        *,
        page_events_max: int = 20,
        creates_topic: bool = False,
        shutdown_timeout_seconds: float = SHUTDOWN_TIMEOUT_SECONDS,
    ) -> States:
        return States(
            self.model.postgres,
            self.config,
            creates_topic=creates_topic,
            metrics=self.observed,
            page_events_max=page_events_max,
            standby_seconds=0.05,
            shutdown_timeout_seconds=shutdown_timeout_seconds,
        )

    async def writer(
        self,
        producer: Sender,
        *,
        page_events_max: int = 20,
        in_doubt: set[str] | None = None,
        store: StateStore | None = None,
    ) -> StateWriter:
        """One that begins where the topic stands."""
        store = store or StateStore(self.model.postgres)
        head = await EventLog(self.model.postgres).head()
        async with Topics.connect(self.config) as topics:
            topic = await topics.describe(self.topic)
        assert topic is not None
        place = await store.take_over(head.epoch, topic.id)
        return StateWriter(
            store,
            producer,
            topic,
            place,
            head.position,
            set() if in_doubt is None else in_doubt,
            page_events_max=page_events_max,
            standby_seconds=0.0,
        )

    async def append(self, seed: int, *, steps: int = 100, prefix: str = "") -> None:
        history = a_history(Random(seed), steps=steps, customers=20)
        await append_history(self.model.appender, history, prefix=prefix)

    async def position(self) -> int:
        return await Checkpoints(self.model.postgres, STATES).position()

    async def is_up_to_date(self) -> bool:
        head = await EventLog(self.model.postgres).head()
        return await self.position() == head.position

    async def records(self) -> list[ConsumedRecord]:
        """Without those that readers skip."""
        return [each for each in await self.all_records() if each.key != SWEEP_KEY]

    async def all_records(self) -> list[ConsumedRecord]:
        return await read_topic(self.config.bootstrap_servers, self.topic)

    async def shown(self) -> dict[str, tuple[int, str | None]]:
        """Version and document of each customer, as the read model has them."""
        rows = await self.model.postgres.fetch(
            lambda customer_id, version, document: (customer_id, (version, document)),
            "SELECT id, version, document FROM read_model.customer",
        )
        return dict(rows)

    async def assert_exact(self) -> None:
        """The last record of every customer is what is shown of it, and there is no other."""
        assert last_states(await self.records()) == await self.shown()


def last_states(records: Sequence[ConsumedRecord]) -> dict[str, tuple[int, str | None]]:
    """What compaction would leave. Records come by partition and offset."""
    return {
        (record.key or b"").decode(): (
            int(dict(record.headers)["ce_sequence"]),
            None if record.value is None else record.value.decode(),
        )
        for record in records
    }


@asynccontextmanager
async def a_written(database: str, kafka: Handle, suffix: str) -> AsyncIterator[Written]:
    async with a_world(database, kafka, suffix) as world:
        for tenant, currency in CURRENCIES.items():
            await world.postgres.execute(
                "INSERT INTO access.tenant (name, currency) VALUES ($1, $2)", tenant, currency
            )
        yield Written(Projected(world.postgres, world.appender), world.config)


@asynccontextmanager
async def writing(*workers: States) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks:
        for worker in workers:
            tasks.create_task(worker.run())
        try:
            yield
        finally:
            for worker in workers:
                worker.stop()
