"""A log that was set back to an older backup, with Kafka as it was before: nothing is shown of it.

Invariant: what Kafka holds was in the log first, so a record that the log does not reach belongs to
a history that is no more.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from service.errors import Corrupt
from tests.integration.test_projection_kafka import Pipeline, a_pipeline
from tests.servers.server import Handle
from tests.support import relays
from tests.support.projections import running
from tests.support.topics import eventually

REFUSAL_TIMEOUT_SECONDS = 20.0


@pytest.fixture
async def written(
    database: str, kafka_server: Handle, topic_suffix: str
) -> AsyncIterator[Pipeline]:
    async for made in a_pipeline(database, kafka_server, topic_suffix):
        yield made


async def set_back(pipeline: Pipeline, position: int) -> None:
    """As a backup of that moment: the log alone, for the read model may be younger."""
    async with pipeline.world.postgres.transaction() as transaction:
        await transaction.execute("SET LOCAL session_replication_role = replica")  # or it refuses
        await transaction.execute("DELETE FROM log.event WHERE position > $1", position)
        await transaction.execute("UPDATE log.head SET position = $1", position)


async def assert_refused(pipeline: Pipeline) -> None:
    async with asyncio.timeout(REFUSAL_TIMEOUT_SECONDS):
        with pytest.raises(Corrupt, match="set back"):
            await pipeline.worker().run()


async def test_events_that_the_log_does_not_have_are_not_shown(written: Pipeline) -> None:
    async with relays.running(written.world.relay()):
        async with running(written.worker()):
            await written.append(1)
            await eventually(written.model.is_up_to_date)
        position = await written.world.head()
        await written.append(2, prefix="lost_")
        await eventually(written.world.all_is_recorded)
    await set_back(written, position)

    await assert_refused(written)

    assert set((await written.positions()).values()) == {position}


async def test_a_read_model_that_is_ahead_of_the_log_is_refused(written: Pipeline) -> None:
    async with relays.running(written.world.relay()), running(written.worker()):
        await written.append(1)
        await eventually(written.model.is_up_to_date)
    await set_back(written, 1)
    await written.set_offsets(dict.fromkeys(await written.positions(), 0))  # something to read

    await assert_refused(written)
