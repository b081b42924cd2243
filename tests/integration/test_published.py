"""`customers status` on a relay: everything up to here, whatever Kafka has let go of."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import confluent_kafka
import pytest
from confluent_kafka.admin import AdminClient
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from service.errors import Corrupt, Unavailable
from service.event_log import EventLog
from service.events import Position
from service.kafka import Producer, Topics, read_tails
from service.relay import Standing, published_position, recorded_progress
from service.relay.standing import next_batch
from tests.end_to_end.command import run
from tests.servers.server import Handle
from tests.support.relays import World, a_world, running
from tests.support.topics import eventually
from tests.support.vaults import VAULT

FIRST = 30  # events of ten customers


class Shown(BaseModel):
    """The relay, as `customers status --json` shows it."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)

    position: int | None
    lag_events: int
    is_down: bool


@pytest.fixture
async def world(database: str, kafka_server: Handle, topic_suffix: str) -> AsyncIterator[World]:
    async with a_world(database, kafka_server, topic_suffix) as world:
        yield world


async def publish_ten(world: World) -> None:
    async with running(world.relay()):
        await world.append(10)
        await eventually(world.all_is_recorded)


async def ask(world: World, database: str, folder: Path) -> tuple[Shown, str]:
    """What the command shows, and what it tells people."""
    settings = world.settings(database)
    result = await asyncio.to_thread(run, folder, "status", "--json", **settings)
    return Shown.model_validate(json.loads(result.stdout)["relay"]), result.stderr


async def every_partition_is_marked(world: World) -> bool:
    recorded = await world.recorded()
    return recorded is not None and set(recorded.tails) == {FIRST}


def delete_all_records(bootstrap_servers: str, topic: str, partitions: int) -> None:
    """As retention does to a topic that nothing is written to any more."""
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    end = confluent_kafka.OFFSET_END
    places = [confluent_kafka.TopicPartition(topic, each, end) for each in range(partitions)]
    for deleted in admin.delete_records(places).values():
        deleted.result(10)


@pytest.mark.real_kafka
async def test_a_quiet_relay_whose_topic_has_run_empty_is_not_behind(
    world: World, database: str, tmp_path: Path
) -> None:
    async with running(world.relay()):
        await world.append(10)
        await eventually(lambda: every_partition_is_marked(world))
        servers, topic, partitions = world.config.bootstrap_servers, world.topic, 6
        await asyncio.to_thread(delete_all_records, servers, topic, partitions)
        tails = await read_tails(world.config, topic, partitions)
        assert [tail.last_record for tail in tails] == [None] * partitions
        shown, _ = await ask(world, database, tmp_path)
    assert shown == Shown(position=FIRST, lag_events=0, is_down=False)


async def test_a_partition_that_is_ahead_does_not_stand_for_the_others(world: World) -> None:
    await publish_ten(world)
    await world.append(10)
    recorded = await world.recorded()
    assert recorded is not None
    page = await EventLog(world.postgres, VAULT).page(Position(FIRST), limit=100)
    batch = next_batch(Standing(*recorded), page)
    assert len(batch.records) > 1
    ahead = max(batch.records, key=lambda partition: batch.after.tails[partition])
    async with Producer.connect(world.config) as producer:
        await producer.send(world.topic, {ahead: batch.records[ahead]})

    assert await published_position(world.postgres, world.config) == FIRST


async def test_what_would_stop_a_relay_is_told_and_shown_as_down(
    world: World, database: str, tmp_path: Path
) -> None:
    await publish_ten(world)
    await world.postgres.execute("UPDATE log.head SET position = 1")
    with pytest.raises(Corrupt, match="set back"):
        await published_position(world.postgres, world.config)
    shown, told = await ask(world, database, tmp_path)
    assert shown.is_down
    assert "Relay: " in told
    assert "the log was set back" in told


async def test_a_missing_topic_is_told(world: World) -> None:
    await publish_ten(world)
    admin = AdminClient({"bootstrap.servers": world.config.bootstrap_servers})
    await asyncio.to_thread(admin.delete_topics([world.topic])[world.topic].result)
    async with Topics.connect(world.config) as topics:

        async def is_gone() -> bool:
            return await topics.describe(world.topic) is None

        await eventually(is_gone)
    with pytest.raises(Unavailable, match="customers migrate"):
        await published_position(world.postgres, world.config)


async def test_without_kafka_the_recorded_progress_is_known(world: World) -> None:
    assert await recorded_progress(world.postgres, world.config) == (False, None)
    async with running(world.relay()):
        await world.append(10)
        await eventually(world.all_is_recorded)
        assert await recorded_progress(world.postgres, world.config) == (True, FIRST)
    assert await recorded_progress(world.postgres, world.config) == (False, FIRST)
