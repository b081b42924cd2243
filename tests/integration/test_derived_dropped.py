"""An added projection that is dropped under its workers, and perhaps made again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from projections.derived import DerivedSource, drop_version, make_tables
from projections.kafka_feed import KafkaSource
from projections.runner import Runner
from service.errors import ConfigurationError, Unavailable
from service.event_log import EventLog
from tests.integration.test_derived import numbers
from tests.integration.test_derived_parked import a_source, tags_over
from tests.integration.test_projection_kafka import Pipeline, a_pipeline
from tests.servers.server import Handle
from tests.support import relays
from tests.support.derived import Added
from tests.support.parking import a_customer, tag
from tests.support.projections import projected, running
from tests.support.topics import eventually
from tests.support.vaults import VAULT

DROPPED = "derived.tags_v1 is not made, or was dropped"


@pytest.fixture
async def tags(database: str, tmp_path: Path) -> AsyncIterator[Added]:
    async with projected(database) as world, tags_over(world, tmp_path) as added:
        yield added


@pytest.fixture
async def pipeline(
    database: str, kafka_server: Handle, topic_suffix: str
) -> AsyncIterator[Pipeline]:
    async for made in a_pipeline(database, kafka_server, topic_suffix):
        yield made


def from_kafka(added: Added, pipeline: Pipeline) -> Runner:
    postgres, metrics = added.world.postgres, added.world.observed
    log = EventLog(postgres, VAULT)
    source = KafkaSource(
        *(pipeline.world.config, log, added.checkpoints),
        projection=added.derived.table,
        metrics=metrics,
    )
    applier = added.applier()
    return Runner(
        DerivedSource(source, added.store(), applier),
        *(applier, log, added.checkpoints),
        metrics=metrics,
    )


async def assert_waits_for_its_table_and_begins_anew(added: Added, runner: Runner) -> None:
    """`runner` is at work."""
    jane = await a_customer(added.world, tags=1)
    await eventually(added.is_up_to_date)
    assert await drop_version(added.world.postgres, "tags", 1)
    await tag(added.world, jane, 2)

    async def says_so() -> bool:
        return DROPPED in (runner.status.problem or "")

    await eventually(says_so)
    await make_tables(added.world.postgres, [added.derived])
    await eventually(added.is_up_to_date)
    assert await numbers(added) == {jane: 2}
    assert runner.status.phase == "running"


async def test_a_worker_that_reads_the_log_waits_for_its_table(tags: Added) -> None:
    runner = tags.runner()
    async with running(runner):
        await assert_waits_for_its_table_and_begins_anew(tags, runner)


async def test_a_worker_that_reads_kafka_waits_for_its_table(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    async with tags_over(pipeline.model, tmp_path) as added:
        runner = from_kafka(added, pipeline)
        async with relays.running(pipeline.world.relay()), running(runner):
            await assert_waits_for_its_table_and_begins_anew(added, runner)


@pytest.mark.parametrize("is_made_again", [False, True])
async def test_a_checkpoint_that_went_with_the_table_is_not_taken_for_another_feed(
    is_made_again: bool, tags: Added
) -> None:
    await a_customer(tags.world, tags=1)
    async with a_source(tags).open() as feed:
        batch = await feed.next()
        await drop_version(tags.world.postgres, "tags", 1)
        if is_made_again:
            await make_tables(tags.world.postgres, [tags.derived])
        with pytest.raises(Unavailable, match="was dropped while this worker ran"):
            await feed.lost(batch)


async def test_a_checkpoint_that_another_feed_took_is_told_as_before(tags: Added) -> None:
    await a_customer(tags.world, tags=1)
    epoch = (await EventLog(tags.world.postgres).head()).epoch
    async with a_source(tags).open() as feed:
        batch = await feed.next()
        await tags.checkpoints.take_over({0, 1}, epoch, "a topic")
        with pytest.raises(ConfigurationError, match="fed from elsewhere"):
            await feed.lost(batch)
