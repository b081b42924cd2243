"""The documented consumer, as it is written: what it tells, and what it does, and how often."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import sys
from asyncio.subprocess import PIPE
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from service.kafka import WATERMARK_TYPE, ConsumedRecord
from tests.servers.databases import Databases
from tests.servers.server import Handle
from tests.support.crafted import (
    Records,
    copied,
    header,
    is_event,
    position,
    watermarks,
    with_header,
    worked_on,
)
from tests.support.topics import eventually
from tests.support.verifying import System, a_system_alone

PROGRAM = Path(__file__).parents[2] / "docs" / "examples" / "proving_consumer.py"
DOCUMENT = Path(__file__).parents[2] / "docs" / "events.md"
RUN_SECONDS_MAX = 60.0
ROUNDS_MAX = 10


@dataclass
class Subscriber:
    """The program, and the file in which it keeps what it does."""

    system: System
    file: Path

    async def start(self, *options: str) -> asyncio.subprocess.Process:
        given = ("--servers", self.system.config.bootstrap_servers, "--topic", self.system.topic)
        return await asyncio.create_subprocess_exec(
            *(sys.executable, str(PROGRAM), *given, "--database", str(self.file), *options),
            stderr=PIPE,
        )

    async def run(self) -> tuple[int | None, str]:
        """To the topic's end; the exit code, and what it said, without the client library."""
        process = await self.start("--until-end")
        async with asyncio.timeout(RUN_SECONDS_MAX):
            _, said = await process.communicate()
        lines = said.decode().splitlines(keepends=True)
        return process.returncode, "".join(each for each in lines if each[0] != "%")

    async def has_begun(self) -> bool:
        return self.file.exists()

    def seen(self) -> Counter[str]:
        connection = sqlite3.connect(self.file)
        try:
            return Counter(dict(connection.execute("SELECT type, count FROM seen").fetchall()))
        finally:
            connection.close()

    def change(self, statement: str) -> None:
        connection = sqlite3.connect(self.file)
        with connection:
            connection.execute(statement)
        connection.close()


def types(records: Records) -> Counter[str]:
    """What there is to count."""
    names = [(header(each, "ce_type") or b"").decode() for each in _all(records)]
    return Counter(name for name in names if name != WATERMARK_TYPE)


def _all(records: Records) -> list[ConsumedRecord]:
    return [each for of_one in records.values() for each in of_one]


def cut(records: Records, after: int) -> Records:
    """The topic as it was while it held no more than so many records of each partition."""
    return {partition: of_one[:after] for partition, of_one in records.items()}


def between(records: Records) -> list[tuple[int, int]]:
    """Watermarks that others come before and after."""
    return [(partition, place) for partition, place in watermarks(records) if place > 0]


@pytest.fixture(scope="module")
async def system(databases: Databases, kafka_server: Handle) -> AsyncIterator[System]:
    async with a_system_alone(databases, kafka_server) as made:
        for _ in range(ROUNDS_MAX):
            await made.traffic(3)
            await made.settle()
            if between(await made.records_of(made.topic)):
                break
        yield made


@pytest.fixture(scope="module")
async def healthy(system: System) -> Records:
    return await system.records_of(system.topic)


@pytest.fixture
def subscriber(system: System, tmp_path: Path) -> Subscriber:
    return Subscriber(system, tmp_path / "seen.db")


async def test_every_event_is_done_once_however_often_it_is_started(
    subscriber: Subscriber, healthy: Records
) -> None:
    await subscriber.system.craft(subscriber.system.topic, healthy)
    for _ in range(2):
        assert await subscriber.run() == (0, "")
        assert subscriber.seen() == types(healthy)


async def test_repeats_are_skipped(subscriber: Subscriber, healthy: Records) -> None:
    records = copied(healthy)
    partition, places = worked_on(records)
    records[partition][places[4] : places[4]] = records[partition][places[1] : places[3]]
    await subscriber.system.craft(subscriber.system.topic, records)
    assert await subscriber.run() == (0, "")
    assert subscriber.seen() == types(healthy)


async def test_a_loss_is_told_and_nothing_after_it_is_done(
    subscriber: Subscriber, healthy: Records
) -> None:
    records = copied(healthy)
    partition, places = worked_on(records)
    before = position(records[partition][places[2] - 1])
    records[partition].pop(places[2])
    await subscriber.system.craft(subscriber.system.topic, records)
    code, said = await subscriber.run()
    sentence = f"Stopped: events of partition {partition} after {before} are lost.\n"
    assert (code, said) == (1, sentence)


async def test_a_lost_watermark_is_told_too(subscriber: Subscriber, healthy: Records) -> None:
    records = copied(healthy)
    partition, place = between(records)[0]
    records[partition].pop(place)
    await subscriber.system.craft(subscriber.system.topic, records)
    code, said = await subscriber.run()
    assert code == 1
    assert f"partition {partition} after" in said


async def test_what_changed_places_is_a_loss(subscriber: Subscriber, healthy: Records) -> None:
    records = copied(healthy)
    partition, places = worked_on(records)
    records[partition].insert(places[4], records[partition].pop(places[2]))
    await subscriber.system.craft(subscriber.system.topic, records)
    code, said = await subscriber.run()
    assert code == 1
    assert f"partition {partition} after" in said


async def test_another_log_is_refused(subscriber: Subscriber, healthy: Records) -> None:
    await subscriber.system.craft(subscriber.system.topic, cut(healthy, 3))
    assert (await subscriber.run())[0] == 0
    other = {
        partition: [with_header(each, "ce_epoch", b"other") for each in of_one]
        for partition, of_one in healthy.items()
    }
    await subscriber.system.craft(subscriber.system.topic, other)
    code, said = await subscriber.run()
    assert (code, said) == (
        1,
        "Stopped: the topic holds another log (epoch other): begin anew.\n",
    )
    assert subscriber.seen() == types(cut(healthy, 3))


async def test_after_a_wipe_it_goes_on_and_does_nothing_twice(subscriber: Subscriber) -> None:
    """The relay itself publishes again, while more happens, at offsets that mean something else."""
    system = subscriber.system
    await system.craft(system.topic, {})
    await system.settle()
    assert await subscriber.run() == (0, "")
    done = subscriber.seen()
    await system.traffic(2)
    await system.craft(system.topic, {})
    await system.traffic(2)
    await system.settle()
    assert await subscriber.run() == (0, "")
    now = await system.records_of(system.topic)
    assert subscriber.seen() == types(now)
    assert subscriber.seen().total() > done.total()


async def test_an_offset_that_lies_too_far_in_a_new_topic_does_no_harm(
    subscriber: Subscriber, healthy: Records
) -> None:
    """It goes back to the first record, where what it lacks is found."""
    await subscriber.system.craft(subscriber.system.topic, cut(healthy, 3))
    assert (await subscriber.run())[0] == 0
    subscriber.change("UPDATE place SET next_offset = 5")
    await subscriber.system.craft(subscriber.system.topic, healthy)
    assert await subscriber.run() == (0, "")
    assert subscriber.seen() == types(healthy)


async def test_who_lagged_behind_the_retention_is_told(
    subscriber: Subscriber, healthy: Records
) -> None:
    """After a wipe the old ones are not published again: what came between cannot be proved."""
    await subscriber.system.craft(subscriber.system.topic, cut(healthy, 3))
    assert (await subscriber.run())[0] == 0
    partition, places = worked_on(healthy)
    rest = healthy[partition][places[5] :]
    first = with_header(rest[0], "ce_previousposition", b"0")
    await subscriber.system.craft(subscriber.system.topic, {partition: [first, *rest[1:]]})
    subscriber.change("UPDATE clock SET event_time = '2024-01-01T00:00:00.000Z'")
    code, said = await subscriber.run()
    assert code == 1
    assert f"events of partition {partition} after" in said


async def test_a_partition_that_only_had_watermarks_is_proved_by_the_others(
    subscriber: Subscriber, healthy: Records
) -> None:
    """Made anew, its first event names nothing before it; it is younger than what others had."""
    await subscriber.system.craft(subscriber.system.topic, healthy)
    assert (await subscriber.run())[0] == 0
    partition, _ = worked_on(healthy)
    highest = max(position(each) for each in _all(healthy))
    watermark = f"UPDATE place SET position = {highest} WHERE partition = {partition}"  # noqa: S608
    subscriber.change(watermark)
    next_one = with_header(healthy[partition][-1], "ce_position", b"%d" % (highest + 1))
    next_one = with_header(next_one, "ce_previousposition", b"0")
    await subscriber.system.craft(subscriber.system.topic, {partition: [next_one]})
    assert await subscriber.run() == (0, "")
    assert subscriber.seen().total() == types(healthy).total() + is_event(next_one)


async def test_it_may_be_killed_at_any_moment(subscriber: Subscriber) -> None:
    system = subscriber.system
    await system.craft(system.topic, {})
    async with system.at_work():
        for _ in range(3):
            process = await subscriber.start()
            await system.traffic(1)
            await eventually(subscriber.has_begun)
            process.send_signal(signal.SIGKILL)
            await process.communicate()
        await eventually(system.is_settled)
    assert await subscriber.run() == (0, "")
    assert subscriber.seen() == types(await system.records_of(system.topic))


def test_the_document_shows_it_as_it_is() -> None:
    text = PROGRAM.read_text(encoding="utf-8")
    shown = DOCUMENT.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    assert "def judge(" in shown
    assert shown in text
