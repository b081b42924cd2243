"""The projection fed by Kafka: log, relay, topic, workers, rows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from itertools import count
from random import Random

import pytest

from projections.checkpoint import LOG_PARTITION
from projections.kafka_feed import KafkaSource
from projections.runner import Runner
from service.errors import ConfigurationError
from service.event_log import EventLog
from tests.servers.server import Handle, Wipeable
from tests.support import relays
from tests.support.logs import a_creation
from tests.support.projections import CURRENCIES, Projected, a_history, append_history, running
from tests.support.relays import World, a_world, is_true
from tests.support.topics import eventually
from tests.support.vaults import VAULT


@dataclass
class Pipeline:
    """A log, its topic and its read model."""

    world: World
    model: Projected

    def worker(self) -> Runner:
        source = KafkaSource(
            self.world.config,
            EventLog(self.model.postgres, VAULT),
            self.model.checkpoints,
            metrics=self.model.observed,
            batch_events_max=50,
        )
        return self.model.runner(source)

    async def append(self, seed: int, *, steps: int = 200, prefix: str = "") -> None:
        history = a_history(Random(seed), steps=steps, customers=20)
        await append_history(self.model.appender, history, prefix=prefix)

    async def positions(self) -> dict[int, int]:
        rows = await self.model.postgres.fetch(
            lambda partition, position: (partition, position),
            "SELECT partition, position FROM read_model.checkpoint",
        )
        return dict(rows)

    async def every_partition_tells_of_the_head(self) -> bool:
        recorded = await self.world.recorded()
        return recorded is not None and set(recorded.tails) == {await self.world.head()}

    async def set_offsets(self, offsets: Mapping[int, int]) -> None:
        for partition, offset in offsets.items():
            await self.model.postgres.execute(
                "UPDATE projection.checkpoint SET topic_offset = $2 WHERE partition = $1",
                partition,
                offset,
            )


async def a_pipeline(database: str, kafka: Handle, suffix: str) -> AsyncIterator[Pipeline]:
    async with a_world(database, kafka, suffix) as world:
        for tenant, currency in CURRENCIES.items():
            await world.postgres.execute(
                "INSERT INTO access.tenant (name, currency) VALUES ($1, $2)", tenant, currency
            )
        yield Pipeline(world, Projected(world.postgres, world.appender))


@pytest.fixture
async def pipeline(
    database: str, kafka_server: Handle, topic_suffix: str
) -> AsyncIterator[Pipeline]:
    async for made in a_pipeline(database, kafka_server, topic_suffix):
        yield made


@pytest.fixture
async def breakable(
    database: str, breakable_kafka: Wipeable, topic_suffix: str
) -> AsyncIterator[Pipeline]:
    async for made in a_pipeline(database, breakable_kafka, topic_suffix):
        made.world.config = replace(made.world.config, request_timeout_seconds=1.0)
        yield made


async def test_what_is_appended_is_published_and_shown(pipeline: Pipeline) -> None:
    await pipeline.append(1, prefix="before_")
    async with relays.running(pipeline.world.relay()), running(pipeline.worker()):
        await pipeline.append(2)
        await eventually(pipeline.model.is_up_to_date)
        creation = a_creation("jane@example.com")
        await pipeline.model.appender.append(creation)
        assert await eventually(pipeline.model.is_up_to_date) < 2
    await pipeline.model.assert_exact()
    assert pipeline.model.observed.reasons == []


async def test_two_workers_share_the_partitions(pipeline: Pipeline) -> None:
    model = pipeline.model
    other = Pipeline(pipeline.world, Projected(model.postgres, model.appender))
    seeds = count()

    async def both_have_worked() -> bool:
        seed = next(seeds)
        await pipeline.append(seed, steps=50, prefix=f"{seed}_")
        return 0 not in {model.observed.events, other.model.observed.events}

    async with (
        relays.running(pipeline.world.relay()),
        running(pipeline.worker(), other.worker()),
    ):
        for _ in range(2):
            await eventually(both_have_worked, 40)
        await eventually(model.is_up_to_date, 40)
    await model.assert_exact()


async def test_workers_that_are_killed_leave_exact_rows(pipeline: Pipeline) -> None:
    async with relays.running(pipeline.world.relay()):
        writing = asyncio.create_task(pipeline.append(5, steps=400))
        for _ in range(3):
            reached = pipeline.model.observed.events
            killed = asyncio.create_task(pipeline.worker().run())
            await eventually(lambda: is_true(pipeline.model.observed.events > reached))  # noqa: B023
            killed.cancel()
            await asyncio.wait([killed])
            await pipeline.append(6 + reached, steps=50, prefix=f"{reached}_")
        await writing
        async with running(pipeline.worker()):
            await eventually(pipeline.model.is_up_to_date, 40)
    await pipeline.model.assert_exact()


async def test_the_feed_may_change_from_log_to_kafka_and_back(pipeline: Pipeline) -> None:
    await pipeline.append(1, prefix="log_")
    await pipeline.model.catch_up()
    reached = (await pipeline.positions())[LOG_PARTITION]

    async with relays.running(pipeline.world.relay()), running(pipeline.worker()):
        await eventually(lambda: is_true(pipeline.model.observed.events > 0))
        await pipeline.append(2, prefix="kafka_")
        await eventually(pipeline.model.is_up_to_date)
    positions = await pipeline.positions()
    assert LOG_PARTITION not in positions
    assert min(positions.values()) > reached

    await pipeline.append(3, prefix="back_")
    await pipeline.model.catch_up()
    assert (await pipeline.positions()).keys() == {LOG_PARTITION}
    await pipeline.model.assert_exact()


async def test_a_worker_that_reads_kafka_ends_where_the_log_took_over(pipeline: Pipeline) -> None:
    async with relays.running(pipeline.world.relay()):
        await pipeline.append(1)
        worker = asyncio.create_task(pipeline.worker().run())
        await eventually(pipeline.model.is_up_to_date)
        await pipeline.model.catch_up()
        await pipeline.append(2, prefix="more_")
        with pytest.raises(ConfigurationError, match="fed from elsewhere"):
            await asyncio.wait_for(worker, 20)


async def test_a_topic_made_anew_is_read_from_its_beginning(
    breakable: Pipeline, breakable_kafka: Wipeable
) -> None:
    """Even where it holds just as many records as were read of the one before."""
    async with relays.running(breakable.world.relay()), running(breakable.worker()):
        await breakable.append(1)
        await eventually(breakable.model.is_up_to_date)
    await relays.wipe(breakable.world, breakable_kafka)
    await breakable.append(2, prefix="more_")
    async with relays.running(breakable.world.relay(creates_topics=True)):
        await eventually(breakable.every_partition_tells_of_the_head)
    ends = {each.partition: each.offset + 1 for each in await breakable.world.records()}
    await breakable.set_offsets(ends)

    async with running(breakable.worker()):
        await eventually(breakable.model.is_up_to_date)
    await breakable.model.assert_exact()


async def test_a_worker_notices_that_its_topic_was_wiped(
    breakable: Pipeline, breakable_kafka: Wipeable
) -> None:
    relay = breakable.world.relay(creates_topics=True)
    async with relays.running(relay), running(breakable.worker()):
        await breakable.append(1)
        await eventually(breakable.model.is_up_to_date)
        await relays.wipe(breakable.world, breakable_kafka)
        await breakable.append(2, prefix="more_")
        await eventually(breakable.model.is_up_to_date, 40)
    await breakable.model.assert_exact()
    assert set(breakable.model.observed.failures) == {"broker_unavailable"}


async def test_what_kafka_lacks_is_read_from_the_log_in_pages_bounded_in_bytes(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.event_log.PAGE_BYTES_MAX", 2_000)
    async with relays.running(pipeline.world.relay()):
        async with running(pipeline.worker()):
            await pipeline.append(1)
            await eventually(pipeline.model.is_up_to_date)
        await pipeline.append(2, prefix="lost_")
        await eventually(pipeline.every_partition_tells_of_the_head)
        ends = {each.partition: each.offset + 1 for each in await pipeline.world.records()}
        await pipeline.set_offsets(ends)
        missing = await pipeline.world.head() - await pipeline.model.checkpoints.position()
        bridged = pipeline.model.observed.bridged
        async with running(pipeline.worker()):
            await pipeline.append(3, prefix="more_", steps=50)
            await eventually(pipeline.model.is_up_to_date)
    assert pipeline.model.observed.bridged - bridged >= missing > 50
    await pipeline.model.assert_exact()
