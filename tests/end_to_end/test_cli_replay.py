"""`customers replay` as an operator runs it: with the relay's rights, killed, and gone on with."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from service.errors import Unavailable
from service.kafka import Topics, read_tails
from service.rights import ROLES
from tests.end_to_end.command import run, running
from tests.servers.server import Handle
from tests.support.exporting import append_many
from tests.support.relays import World, a_world
from tests.support.topics import chain_breaks, events_of, eventually, read_topic
from tests.support.users import users_of

MASTER_KEY = b64encode(b"k" * 32).decode()  # tests.support.vaults.KEY
EVENTS = 60
MANY_EVENTS = 60_000
RELAY = ROLES[1]


@dataclass
class Place:
    world: World
    home: Path
    url: str
    topic: str
    delivery: str

    @property
    def settings(self) -> dict[str, str]:
        return {
            "DATABASE_URL": self.url,
            "KAFKA_BOOTSTRAP_SERVERS": self.world.config.bootstrap_servers,
            "KAFKA_TOPIC_PREFIX": self.world.config.topic_prefix,
            "KAFKA_DELIVERY": self.delivery,
            "MASTER_KEY": MASTER_KEY,
        }

    @property
    def command(self) -> tuple[str, ...]:
        return "replay", "--to-topic", self.topic, "--from", "1"

    async def replay(self, *options: str, **settings: str) -> tuple[int, str, str]:
        given = {**self.settings, **settings}
        done = await asyncio.to_thread(run, self.home, *self.command, *options, **given)
        return done.returncode, done.stdout, done.stderr

    async def positions(self) -> list[int]:
        records = await read_topic(self.world.config.bootstrap_servers, self.topic)
        assert chain_breaks(records) == []
        return sorted(event.position for event in events_of(records))

    async def has_begun(self) -> bool:
        """Something can be read."""
        try:
            async with Topics.connect(self.world.config) as topics:
                if await topics.describe(self.topic) is None:
                    return False
            (tail,) = await read_tails(self.world.config, self.topic, 1)
        except Unavailable:  # it was made this moment
            return False
        return tail.last_record is not None


@pytest.fixture
async def place(
    database: str, kafka_server: Handle, topic_suffix: str, tmp_path: Path
) -> AsyncIterator[Place]:
    async with a_world(database, kafka_server, topic_suffix) as world:
        await world.append(EVENTS // 3)
        yield Place(world, tmp_path, database, f"{topic_suffix}.replayed", world.delivers)


async def test_the_rights_of_the_relay_are_enough_and_it_tells_what_it_did(place: Place) -> None:
    async with users_of(place.url) as users:
        code, out, said = await place.replay("--json", DATABASE_URL=users[RELAY])
    assert code == 0, said
    told = json.loads(out)
    assert told["seconds"] > 0
    assert {name: told[name] for name in ("topic", "partitions", "from", "to")} == {
        "topic": place.topic,
        "partitions": 6,
        "from": 1,
        "to": EVENTS,
    }
    assert (told["published"], told["alreadyThere"]) == (EVENTS, 0)
    assert await place.positions() == list(range(1, EVENTS + 1))
    assert f"holds positions 1 to {EVENTS} in 6 partitions" in said


@pytest.mark.real_kafka
async def test_killed_at_work_it_goes_on_and_repeats_nothing(place: Place) -> None:
    await append_many(place.world.postgres, MANY_EVENTS)
    one = "--partitions", "1"
    with running(place.home, *place.command, *one, **place.settings) as replay:
        await eventually(place.has_begun)
        replay.process.kill()
    code, out, said = await place.replay(*one, "--json")
    assert code == 0, said
    assert json.loads(out)["alreadyThere"] > 0
    assert await place.positions() == list(range(1, EVENTS + MANY_EVENTS + 1))


async def test_what_cannot_be_is_refused_in_a_sentence(place: Place) -> None:
    events = place.world.topic
    for options, sentence in (
        (["--to-topic", events], f"{events} is a topic of the service"),
        (["--to", str(EVENTS + 1)], f"the log ends at {EVENTS}"),
        (["--from", "9", "--to", "8"], "There are no positions 9 to 8"),
    ):
        code, _, said = await place.replay(*options)
        assert (code, len(said.splitlines())) == (2, 1)
        assert sentence in said


async def test_without_a_broker_it_says_how_to_go_on(place: Place) -> None:
    code, _, said = await place.replay(KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1")
    assert code == 1
    assert said.endswith("Run the same command again: it goes on.\n")
