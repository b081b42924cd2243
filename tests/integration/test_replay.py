"""A part of the log once more, in a topic of its own: the very records, whatever dies meanwhile."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from asyncio.subprocess import PIPE
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from dataclasses import replace as replaced
from pathlib import Path

import pytest

from service.errors import ConfigurationError, Unavailable
from service.event_log import EventLog
from service.events import Position
from service.kafka import (
    ConsumedRecord,
    Producer,
    Record,
    Topics,
    TransactionalProducer,
    partition_for,
)
from service.relay import Asked, Replayed, Standing, replay
from service.relay.standing import next_batch
from tests.servers.server import Handle
from tests.support.dying import Step, hanging_at
from tests.support.relays import DELIVERIES, EXACTLY_ONCE, World, a_world, running
from tests.support.topics import (
    chain_breaks,
    events_of,
    eventually,
    read_topic,
)
from tests.support.vaults import VAULT

PROGRAM = Path(__file__).parents[2] / "docs" / "examples" / "proving_consumer.py"
RUN_SECONDS_MAX = 60.0
PAGE_EVENTS = 10
NAMES = ("write", "commit")
STEPS: dict[str, Step] = {
    f"{when} the {name}": (TransactionalProducer, name, is_after)
    for name in NAMES
    for when, is_after in (("before", False), ("after", True))
}


@dataclass
class Replaying:
    """A log that is published, and topics to which it is replayed."""

    world: World
    topic: str
    begun: list[int] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)

    async def replay(
        self,
        *,
        first: int = 1,
        last: int | None = None,
        partitions: int | None = None,
        topic: str | None = None,
        on_sent: Callable[[int], None] | None = None,
    ) -> Replayed:
        head = await self.world.head()
        return await replay(
            EventLog(self.world.postgres, VAULT),
            self.world.config,
            Asked(topic or self.topic, first, last or head, partitions),
            is_exactly_once=self.world.delivers == EXACTLY_ONCE,
            on_begun=self.begun.append,
            on_sent=on_sent or self.sent.append,
            page_events_max=PAGE_EVENTS,
        )

    async def records(self) -> list[ConsumedRecord]:
        return await read_topic(self.world.config.bootstrap_servers, self.topic)

    async def is_whole(self, first: int, last: int) -> None:
        """Each event once, each naming the one before, and the end marked everywhere."""
        records = await self.records()
        assert sorted(each.position for each in events_of(records)) == [*range(first, last + 1)]
        assert chain_breaks(records) == []
        ends = {each.partition: _position(each) for each in records}
        assert set(ends.values()) == {last}


def _position(record: ConsumedRecord) -> int:
    return int(dict(record.headers)["ce_position"])


def told(records: list[ConsumedRecord]) -> dict[int, object]:
    """Of events all but the chain and the offset, which follow from what lies between."""
    return {
        event.position: (
            record.partition,
            record.key,
            record.value,
            [each for each in record.headers if each[0] != "ce_previousposition"],
        )
        for record in records
        for event in events_of([record])
    }


@pytest.fixture(params=DELIVERIES)
async def replaying(
    request: pytest.FixtureRequest, database: str, kafka_server: Handle, topic_suffix: str
) -> AsyncIterator[Replaying]:
    async with a_world(database, kafka_server, topic_suffix, request.param) as world:
        yield Replaying(world, f"{topic_suffix}.replayed")


async def test_the_records_are_the_very_ones_of_the_events_topic(replaying: Replaying) -> None:
    world = replaying.world
    await world.append(20)
    async with running(world.relay()):
        await eventually(world.all_is_recorded)
    before = await world.recorded()
    done = await replaying.replay()
    assert done == (6, 0, 60)
    assert (replaying.begun, sum(replaying.sent), max(replaying.sent)) == ([60], 60, PAGE_EVENTS)
    assert told(await replaying.records()) == told(await world.records())
    assert len(told(await replaying.records())) == 60
    await replaying.is_whole(1, 60)
    assert await world.recorded() == before


async def test_a_part_of_the_log_in_as_many_partitions_as_asked_for(replaying: Replaying) -> None:
    await replaying.world.append(20)
    assert (await replaying.replay(first=7, last=44, partitions=3)).partitions == 3
    await replaying.is_whole(7, 44)
    for record in await replaying.records():
        if record.key is not None:
            assert record.partition == partition_for(record.key, 3)


async def test_again_it_adds_nothing_or_what_has_come_since(replaying: Replaying) -> None:
    await replaying.world.append(10)
    await replaying.replay()
    before = await replaying.records()
    assert (await replaying.replay()).already == 30
    assert await replaying.records() == before
    await replaying.world.append(10)
    done = await replaying.replay()
    assert (done.already, done.last) == (30, 60)
    await replaying.is_whole(1, 60)


async def test_broken_off_between_pages_it_goes_on(replaying: Replaying) -> None:
    await replaying.world.append(20)

    def breaks_off(_: int) -> None:
        raise Unavailable("broker_unavailable", "for the test")

    for _ in range(3):
        with pytest.raises(Unavailable):
            await replaying.replay(on_sent=breaks_off)
    await replaying.replay()
    await replaying.is_whole(1, 60)


async def test_what_a_producer_that_died_has_left_out_is_filled_in(replaying: Replaying) -> None:
    """Without transactions a page may be there in some of the partitions only."""
    world = replaying.world
    await world.append(20)
    config = world.config
    usual = replaced(config.events_topic, name=replaying.topic, is_stamped_on_arrival=True)
    async with Topics.connect(config) as topics:
        await topics.create_missing([usual])
    log = EventLog(world.postgres, VAULT)
    standing = Standing((await log.head()).epoch, Position(0), (0,) * usual.partitions)
    async with Producer.connect(config) as producer:
        for is_whole in (True, False):
            batch = next_batch(standing, await log.page(standing.position, limit=30))
            partition = max(batch.records, key=lambda each: len(batch.records[each]))
            some = batch.records if is_whole else {partition: batch.records[partition]}
            await producer.send(replaying.topic, some)
            standing = batch.after
    await replaying.replay()
    await replaying.is_whole(1, 60)


@pytest.mark.real_kafka
@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
@pytest.mark.parametrize("time", [1, 3])
async def test_killed_at_any_step_nothing_is_twice_or_left_out(
    database: str, kafka_server: Handle, topic_suffix: str, step: Step, time: int
) -> None:
    async with a_world(database, kafka_server, topic_suffix, EXACTLY_ONCE) as world:
        await world.append(20)
        replaying = Replaying(world, f"{topic_suffix}.replayed")
        async with hanging_at(step, time) as reached:
            dying = asyncio.create_task(replaying.replay())
            await asyncio.wait_for(reached.wait(), RUN_SECONDS_MAX)
            dying.cancel()
            await asyncio.wait([dying])
        await replaying.replay()
        await replaying.is_whole(1, 60)


async def test_the_topics_of_the_service_are_refused(replaying: Replaying) -> None:
    await replaying.world.append(1)
    names = [topic.name for topic in replaying.world.config.topics]
    for name in (*names, "__consumer_offsets"):
        with pytest.raises(ConfigurationError, match="topic of the service"):
            await replaying.replay(topic=name)


async def test_a_topic_that_is_not_this_replays_is_refused(replaying: Replaying) -> None:
    world = replaying.world
    await world.append(10)
    await replaying.replay(first=4)
    for first in (3, 5):
        with pytest.raises(ConfigurationError, match=f"does not begin with position {first}"):
            await replaying.replay(first=first)
    await world.postgres.execute("UPDATE log.head SET epoch = 'other'")
    with pytest.raises(ConfigurationError, match="another log"):
        await replaying.replay(first=4)
    async with Producer.connect(world.config) as producer:
        await producer.send(replaying.topic, {0: [Record(b"k", b"v", [], 0)]})
    with pytest.raises(ConfigurationError, match="other records"):
        await replaying.replay(first=4)


@pytest.mark.real_kafka
async def test_partitions_that_are_not_as_asked_are_refused(
    database: str, kafka_server: Handle, topic_suffix: str
) -> None:
    async with a_world(database, kafka_server, topic_suffix) as world:
        await world.append(2)
        replaying = Replaying(world, f"{topic_suffix}.replayed")
        await replaying.replay()
        with pytest.raises(ConfigurationError, match="has 6 partitions"):
            await replaying.replay(partitions=3)


async def follow(world: World, topic: str, file: Path) -> tuple[int | None, str]:
    """The documented consumer, to the topic's end."""
    given = ("--servers", world.config.bootstrap_servers, "--topic", topic)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(PROGRAM), *given, "--database", str(file), "--until-end"),
        stderr=PIPE,
    )
    async with asyncio.timeout(RUN_SECONDS_MAX):
        _, said = await process.communicate()
    return process.returncode, said.decode()


async def test_a_subscriber_proves_the_replay_and_goes_on_with_the_events_topic(
    replaying: Replaying, tmp_path: Path
) -> None:
    world, file = replaying.world, tmp_path / "seen.db"
    await world.append(20)
    await replaying.replay()
    assert (await follow(world, replaying.topic, file))[0] == 0
    await world.append(10)
    async with running(world.relay()):
        await eventually(world.all_is_recorded)
    code, said = await follow(world, world.topic, file)
    assert code == 0, said
    with sqlite3.connect(file) as connection:
        seen = Counter(dict(connection.execute("SELECT type, count FROM seen").fetchall()))
    connection.close()
    assert seen == {"customer.created.v1": 30, "customer.tagged.v1": 60}


async def test_what_the_events_topic_lacks_after_a_replay_is_told(
    replaying: Replaying, tmp_path: Path
) -> None:
    """A replay of a part that ends before the events topic goes on is no proof."""
    world, file = replaying.world, tmp_path / "seen.db"
    await world.append(20)
    async with running(world.relay()):
        await eventually(world.all_is_recorded)
    await replaying.replay(last=30)
    assert (await follow(world, replaying.topic, file))[0] == 0
    records = await world.records()
    late = [each for each in records if _position(each) > 45]
    other = f"{replaying.topic}.late"
    async with Topics.connect(world.config) as topics:
        await topics.create_missing([replaced(world.config.events_topic, name=other)])
    async with Producer.connect(world.config) as producer:
        for each in late:
            record = Record(each.key, each.value, each.headers, each.timestamp_ms)
            await producer.send(other, {each.partition: [record]})
    code, said = await follow(world, other, file)
    assert code == 1
    assert "are lost" in said
