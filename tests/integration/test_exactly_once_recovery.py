"""Exactly once while topics are wiped, the broker is killed, and relays are killed or paused."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import confluent_kafka
import pytest
from confluent_kafka.admin import AdminClient

from service.errors import ConfigurationError, Corrupt
from service.kafka import Topics
from service.relay import Relay
from tests.integration.test_exactly_once import each_is_there_once
from tests.servers.server import Handle, Wipeable
from tests.support.relays import (
    AT_LEAST_ONCE,
    EXACTLY_ONCE,
    World,
    a_world,
    is_true,
    make_old,
    running,
)
from tests.support.topics import chain_breaks, events_of, eventually

pytestmark = pytest.mark.real_kafka

TAKES_OVER_WITHIN_SECONDS = 5.0  # a lease of 2 s, and a session's start on a busy machine
KILLS = 3

# A relay that is paused right before its second commit: nothing shows more clearly who is fenced.
RELAY_PROCESS = """
import asyncio, os, signal, sys
from service.event_log import EventLog
from service.kafka import KafkaConfig, TransactionalProducer
from service.postgres import Postgres
from service.relay import ExactlyOnce, Lease, Relay
from tests.support.vaults import VAULT

commit, commits = TransactionalProducer.commit, 0

async def pause_and_commit(producer):
    global commits
    commits += 1
    if commits == 2:
        os.kill(os.getpid(), signal.SIGSTOP)
        print("goes on", flush=True)
    await commit(producer)

async def main(database_url, bootstrap_servers, prefix):
    config = KafkaConfig(bootstrap_servers, topic_prefix=prefix)
    async with Postgres.connect(database_url) as postgres:
        lease = Lease(postgres, config.events_topic.name)
        delivery = ExactlyOnce(postgres, config)
        relay = Relay(postgres, EventLog(postgres, VAULT), delivery, lease, batch_events_max=10)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, relay.stop)
        await relay.run()
        print("stopped", flush=True)

if sys.argv[1] == "pauses":
    TransactionalProducer.commit = pause_and_commit
asyncio.run(main(*sys.argv[2:]))
"""


@pytest.fixture
async def world(database: str, kafka_server: Handle, topic_suffix: str) -> AsyncIterator[World]:
    async with a_world(database, kafka_server, topic_suffix, EXACTLY_ONCE) as world:
        yield world


@pytest.fixture
async def breakable(
    database: str, breakable_kafka: Wipeable, topic_suffix: str
) -> AsyncIterator[World]:
    async with a_world(database, breakable_kafka, topic_suffix, EXACTLY_ONCE) as world:
        world.config = replace(world.config, request_timeout_seconds=1.0)
        yield world


async def publish(world: World, customers: int) -> None:
    async with running(world.relay()):
        await world.append(customers)
        await eventually(world.all_is_recorded)


async def make_anew(world: World, *names: str) -> None:
    admin = AdminClient({"bootstrap.servers": world.config.bootstrap_servers})
    for deleted in admin.delete_topics(list(names)).values():
        await asyncio.to_thread(deleted.result)
    async with Topics.connect(world.config) as topics:
        for name in names:
            await eventually(lambda name=name: is_missing(topics, name))
        await topics.create_missing(world.config.topics)


async def is_missing(topics: Topics, name: str) -> bool:
    return await topics.describe(name) is None


async def test_without_its_progress_the_topic_itself_tells(world: World) -> None:
    await publish(world, 10)
    await world.postgres.execute("DELETE FROM relay.progress")
    await make_anew(world, world.config.progress_topic.name)
    await publish(world, 10)
    await each_is_there_once(world, 60)


@pytest.mark.parametrize("both", [False, True], ids=["the events", "the events and the progress"])
async def test_a_topic_that_was_wiped_gets_what_is_young_enough_once(
    world: World, both: bool
) -> None:
    await publish(world, 10)
    await make_old(world.postgres, up_to=12)
    progress = [world.config.progress_topic.name] if both else []
    await make_anew(world, world.topic, *progress)
    await publish(world, 10)

    records = await world.records()
    assert sorted(event.position for event in events_of(records)) == list(range(13, 61))
    assert chain_breaks(records) == []


async def test_topics_that_are_wiped_under_a_relay_are_filled_again(world: World) -> None:
    async with running(world.relay()):
        await world.append(10)
        await eventually(world.all_is_recorded)
        await make_anew(world, world.topic, world.config.progress_topic.name)
        await world.append(10)
        await eventually(lambda: has_events(world, 60))
    await each_is_there_once(world, 60)


async def has_events(world: World, events: int) -> bool:
    return len(await world.events()) >= events


async def test_kafka_ahead_of_the_log_is_refused_though_every_record_has_expired(
    world: World,
) -> None:
    """The database was restored, the progress in it too: only Kafka's own progress tells."""
    await publish(world, 10)
    await asyncio.to_thread(expire_all, world)
    await world.postgres.execute("UPDATE relay.progress SET position = 1, tails = '{0,0,0,0,0,0}'")
    await world.postgres.execute("UPDATE log.head SET position = 1")
    with pytest.raises(Corrupt, match="position 30 was published and the log ends at 1"):
        await world.relay().run()


async def test_after_a_change_of_delivery_what_has_expired_is_not_published_again(
    world: World,
) -> None:
    """The progress in Kafka is then the older one, and no record is left to tell."""
    await publish(world, 10)
    world.delivers = AT_LEAST_ONCE
    await publish(world, 10)
    await asyncio.to_thread(expire_all, world)
    world.delivers = EXACTLY_ONCE
    await publish(world, 10)
    assert sorted(event.position for event in await world.events()) == list(range(61, 91))


async def test_the_progress_of_another_log_is_refused(world: World) -> None:
    await publish(world, 10)
    await asyncio.to_thread(expire_all, world)
    await world.postgres.execute("DELETE FROM relay.progress")
    await world.postgres.execute("UPDATE log.head SET epoch = 'restored'")
    with pytest.raises(ConfigurationError, match=r"another log .* run `customers migrate`"):
        await world.relay().run()


def expire_all(world: World) -> None:
    admin = AdminClient({"bootstrap.servers": world.config.bootstrap_servers})
    end = confluent_kafka.OFFSET_END
    places = [confluent_kafka.TopicPartition(world.topic, number, end) for number in range(6)]
    for deleted in admin.delete_records(places).values():
        deleted.result(10)


async def test_a_broker_that_is_killed_within_transactions_has_each_event_once(
    breakable: World, breakable_kafka: Wipeable
) -> None:
    relay = breakable.relay(batch_events_max=5)
    appended = 0
    async with running(relay):
        for _ in range(KILLS):
            appending = asyncio.create_task(breakable.append(150))
            published = breakable.observed.events
            await eventually(lambda: is_true(breakable.observed.events > published + 30))  # noqa: B023
            await breakable_kafka.kill()
            await breakable_kafka.restart()
            await appending
            appended += 450
        await eventually(breakable.all_is_recorded, 40.0)
    await each_is_there_once(breakable, appended)


@asynccontextmanager
async def a_process(world: World, database: str, *, pauses: bool) -> AsyncIterator[Process]:
    how = "pauses" if pauses else "runs"
    servers, prefix = world.config.bootstrap_servers, world.config.topic_prefix
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", RELAY_PROCESS, how, database, servers, prefix),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


Process = asyncio.subprocess.Process


async def test_a_relay_that_is_paused_within_a_transaction_cannot_end_it_when_it_wakes(
    world: World, database: str
) -> None:
    standby = world.relay()
    async with a_process(world, database, pauses=True) as process:
        assert process.stdout is not None
        await world.append(20)
        await eventually(lambda: is_true(has_paused(process)))
        seen = {event.position for event in await world.events()}
        assert seen == set(range(1, 11))
        async with running(standby):
            assert await eventually(world.all_is_recorded) < TAKES_OVER_WITHIN_SECONDS
            process.send_signal(signal.SIGCONT)
            assert await asyncio.wait_for(process.stdout.readline(), 20) == b"goes on\n"
            await world.append(20)
            await eventually(world.all_is_recorded)
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.stdout.readline(), 20) == b"stopped\n"
            assert standby.status.phase == "publishing"
    await each_is_there_once(world, 120)


def has_paused(process: Process) -> bool:
    with open(f"/proc/{process.pid}/stat", encoding="utf-8") as stat:  # noqa: PTH123
        return stat.read().rpartition(") ")[2].startswith("T")


async def test_a_standby_takes_over_from_one_that_is_killed_under_load(
    world: World, database: str
) -> None:
    async with a_process(world, database, pauses=False) as process:
        standby: Relay = world.relay()
        await eventually(lambda: is_publishing(world))
        async with running(standby):
            appending = asyncio.create_task(world.append(200))
            await eventually(lambda: has_events(world, 50))
            process.kill()
            taken = await eventually(lambda: is_true(standby.status.phase == "publishing"))
            await appending
            await eventually(world.all_is_recorded)
    assert taken < TAKES_OVER_WITHIN_SECONDS
    await each_is_there_once(world, 600)


async def is_publishing(world: World) -> bool:
    """A session has begun: it records where it begins."""
    return await world.recorded() is not None
