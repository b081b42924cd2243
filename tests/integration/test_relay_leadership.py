"""One relay publishes and the others stand by, whatever dies."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator

import pytest

from service.relay import Lease, LeaseLost, Standing, Term
from service.relay.progress import ProgressTable
from tests.servers.server import Handle
from tests.support.relays import DELIVERIES, World, a_world, is_true, running
from tests.support.topics import chain_breaks, events_of, eventually

STANDBY_TAKES_OVER_WITHIN_SECONDS = 4.0

RELAY_PROCESS = """
import asyncio, sys
from service.event_log import EventLog
from service.kafka import KafkaConfig
from service.postgres import Postgres
from service.relay import AtLeastOnce, ExactlyOnce, Lease, Relay
from tests.support.vaults import VAULT

DELIVERIES = {"exactly-once": ExactlyOnce, "at-least-once": AtLeastOnce}

async def main(database_url, bootstrap_servers, prefix, idempotence, delivers):
    config = KafkaConfig(bootstrap_servers, topic_prefix=prefix, idempotence=idempotence == "True")
    async with Postgres.connect(database_url) as postgres:
        lease = Lease(postgres, config.events_topic.name)
        delivery = DELIVERIES[delivers](postgres, config)
        await Relay(postgres, EventLog(postgres, VAULT), delivery, lease).run()

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture(params=DELIVERIES)
def delivers(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def world(
    database: str, kafka_server: Handle, topic_suffix: str, delivers: str
) -> AsyncIterator[World]:
    async with a_world(database, kafka_server, topic_suffix, delivers) as world:
        yield world


async def test_a_standby_takes_over_from_a_process_that_is_killed(
    world: World, database: str
) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        RELAY_PROCESS,
        database,
        world.config.bootstrap_servers,
        world.config.topic_prefix,
        str(world.config.idempotence),
        world.delivers,
    )
    standby = world.relay()
    try:
        await world.append(1)
        await eventually(world.all_is_recorded)
        async with running(standby):
            await eventually(lambda: is_true(standby.status.phase == "standby"))
            process.send_signal(signal.SIGKILL)
            await world.append(1)
            waited = await eventually(world.all_is_recorded)
            assert standby.status.phase == "publishing"
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()

    assert waited < STANDBY_TAKES_OVER_WITHIN_SECONDS
    records = await world.records()
    assert sorted(event.position for event in events_of(records)) == list(range(1, 7))
    assert chain_breaks(records) == []


async def test_one_publishes_and_a_clean_stop_hands_over_at_once(world: World) -> None:
    first, second = world.relay(), world.relay()
    async with running(second), running(first):
        await eventually(
            lambda: is_true({first.status.phase, second.status.phase} == {"publishing", "standby"})
        )
        leader, follower = sorted([first, second], key=lambda relay: relay.status.phase)
        leader.stop()
        assert await eventually(lambda: is_true(follower.status.phase == "publishing")) < 2


async def test_one_that_was_thought_dead_cannot_move_progress(world: World) -> None:
    standing = Standing("epoch", 7, (7, 7))
    zombie, successor = Lease(world.postgres, world.topic), Lease(world.postgres, world.topic)
    lost = await zombie.take()
    assert lost is not None
    await ProgressTable(world.postgres, lost, "id").record(standing)
    assert await successor.take() is None

    async def is_taken() -> bool:
        return await successor.take() is not None

    await eventually(is_taken)

    stale = ProgressTable(world.postgres, lost, "id")
    with pytest.raises(LeaseLost):
        await stale.record(Standing("epoch", 3, (3, 3)))
    with pytest.raises(LeaseLost):
        await zombie.renew(lost)
    await zombie.release(lost)
    assert await world.recorded() == standing
    assert await zombie.take() is None


async def test_a_relay_stands_by_when_its_lease_is_taken_from_it(world: World) -> None:
    relay = world.relay()
    async with running(relay):
        await eventually(lambda: is_true(relay.status.phase == "publishing"))
        await world.postgres.execute(
            "UPDATE relay.lease SET generation = generation + 1, owner = 'another',"
            " expires_at = clock_timestamp() + interval '1 minute' WHERE topic = $1",
            world.topic,
        )
        await eventually(lambda: is_true(relay.status.phase == "standby"))
        await Lease(world.postgres, world.topic).release(Term(world.topic, await generation(world)))
        await world.append(1)
        await eventually(world.all_is_recorded)


async def test_a_stop_before_the_start_and_a_second_one_are_harmless(world: World) -> None:
    relay = world.relay()
    relay.stop()
    relay.stop()
    await relay.run()
    assert relay.status.phase == "stopped"
    relay.stop()


async def generation(world: World) -> int:
    found = await world.postgres.fetch_one(
        int, "SELECT generation FROM relay.lease WHERE topic = $1", world.topic
    )
    assert found is not None
    return found
