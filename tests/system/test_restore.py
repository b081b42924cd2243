"""An older backup is restored while Kafka and callers know what came after it.

Invariant: under its new epoch everything goes on and nothing of the lost history is shown; without
one, whoever would mix the two up refuses with a sentence.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import pytest

from service.events import OrderRecorded
from service.kafka import SWEEP_KEY, ConsumedRecord, KafkaConfig, Topic
from service.postgres import Postgres
from tests.end_to_end.command import run
from tests.servers.databases import Databases
from tests.servers.server import Handle
from tests.support.backups import Backup, a_backup
from tests.support.orders import an_order, send
from tests.support.projections import expected, recorded_events, shown
from tests.support.states import last_states
from tests.support.topics import events_of, eventually, read_topic
from tests.system.checking import check_lists, check_log, check_writes
from tests.system.installation import Installation, Role, installed
from tests.system.traffic import Answer, Caller, Ledger

# The stand-in loses its records with its process, and its groups with their members.
pytestmark = pytest.mark.real_kafka

KEPT, LOST, NEW = 12, 8, 30
SEEN_WITHIN_SECONDS = 45.0
ENDED_WITHIN_SECONDS = 30.0
ROLES = ("api", "relay", "projections", "intake")


@dataclass
class Shop:
    """An installation whose roles are stopped and started all together."""

    system: Installation
    backup: Backup
    ledger: Ledger = field(default_factory=Ledger)  # of what the backup has, and of what came last
    lost: Ledger = field(default_factory=Ledger)
    roles: dict[str, Role] = field(default_factory=dict)

    @property
    def api(self) -> Role:
        return self.roles["api"]

    @property
    def config(self) -> KafkaConfig:
        prefix = self.system.settings["KAFKA_TOPIC_PREFIX"]
        return KafkaConfig(self.system.bootstrap_servers, topic_prefix=prefix)

    async def start(self, *names: str) -> None:
        self.roles = {name: self.system.launch(name) for name in names}
        await self.system.until_ready(*self.roles.values())

    async def stop(self) -> None:
        for role in self.roles.values():
            code, _ = await asyncio.to_thread(role.process.stop)
            assert code == 0
        self.roles = {}

    async def create(self, customers: int, ledger: Ledger) -> Answer:
        """The last answer, once lists show it."""
        caller = Caller(self.system, [self.api], ledger)
        for _ in range(customers):
            created = await caller.write("POST", "/user", {"email": f"{uuid4().hex}@example.com"})
            assert created.status == 201
        return created

    @property
    def caller(self) -> Caller:
        return Caller(self.system, [self.api], Ledger())

    async def ask(self, method: str, path: str, epoch: str) -> tuple[int, str | None]:
        """Status and code of the answer to a caller who names an epoch."""
        headers = {**self.system.headers, "Log-Epoch": epoch}
        url = self.api.url + path
        async with self.system.session.request(method, url, headers=headers) as answer:
            return answer.status, json.loads(await answer.read()).get("code")

    async def is_shown(self, answer: Answer) -> bool:
        listed = await self.caller.get(f"/user?display=1&minPosition={answer.position}")
        return listed.status == 200

    async def order(self, number: int, customer: str) -> None:
        order = an_order(f"ord_{number}", 1, customer, total=100)
        record = (b"ord", json.dumps(order).encode(), list[tuple[str, bytes | None]]())
        topic = self.config.orders_topic.name
        await asyncio.to_thread(send, self.system.bootstrap_servers, topic, [record], "none")

    async def has_orders(self, path: str, count: int) -> bool:
        found = await self.caller.get(path)
        return json.loads(found.body)["orderCount"] == count

    async def records(self, topic: Topic) -> Sequence[ConsumedRecord]:
        return await read_topic(self.system.bootstrap_servers, topic.name)

    async def holds_states_of(self, postgres: Postgres) -> bool:
        """Whether the topic of states says of everybody what the read model shows, and no more."""
        records = await self.records(self.config.state_topic)
        rows = await postgres.fetch(
            lambda customer_id, version, document: (customer_id, (version, document)),
            "SELECT id, version, document FROM read_model.customer",
        )
        return last_states([each for each in records if each.key != SWEEP_KEY]) == dict(rows)

    async def lose_the_latest(self) -> tuple[Answer, Answer]:
        """Make a backup, write more that everybody gets to know, stop, and restore. The last
        answer before the backup, which has an order that came after it, and the last of all."""
        await self.start(*ROLES)
        kept = await self.create(KEPT, self.ledger)
        await eventually(lambda: self.is_shown(kept), SEEN_WITHIN_SECONDS)
        await self.stop()
        await self.backup.make()
        await self.start(*ROLES)
        await self.order(1, kept.path.removeprefix("/user/"))
        lost = await self.create(LOST, self.lost)
        await eventually(lambda: self.is_shown(lost), SEEN_WITHIN_SECONDS)
        await eventually(lambda: self.has_orders(kept.path, 1), SEEN_WITHIN_SECONDS)
        await self.stop()
        await self.backup.restore()
        return kept, lost

    async def ends_with(self, name: str, sentence: str) -> None:
        """Start a role that has to end by itself."""
        role = self.system.launch(name)

        async def has_ended() -> bool:
            return not role.is_running

        await eventually(has_ended, ENDED_WITHIN_SECONDS)
        assert role.process.process.returncode in {1, 2}
        assert role.logged(sentence) != [], role.process.said


@pytest.fixture
async def shop(databases: Databases, kafka_server: Handle, tmp_path: Path) -> AsyncIterator[Shop]:
    url = await databases.create()
    async with (
        a_backup(url, tmp_path) as backup,
        installed(tmp_path, url, kafka_server.server, uuid4().hex[:12]) as system,
    ):
        yield Shop(system, backup)
    await databases.drop(url)


def epochs(records: Sequence[ConsumedRecord]) -> set[bytes]:
    return {dict(record.headers)["ce_epoch"] for record in records}


async def test_under_a_new_epoch_everything_goes_on_and_nothing_lost_is_shown(shop: Shop) -> None:
    kept, lost = await shop.lose_the_latest()
    told = json.loads(await shop.system.command("log", "new-epoch", "--delete-topics", "--json"))
    assert told["endedAtPosition"] == kept.position

    await shop.start(*ROLES)
    new = await shop.create(NEW, shop.ledger)
    assert new.position > lost.position, "else no position had two meanings"
    await eventually(lambda: shop.is_shown(new), SEEN_WITHIN_SECONDS)
    await eventually(lambda: shop.has_orders(kept.path, 1), SEEN_WITHIN_SECONDS)
    assert (await shop.caller.get(lost.path)).code == "customer_not_found"
    async with Postgres.connect(shop.system.database_url, pool_size_max=2) as postgres:
        events = await recorded_events(postgres, shop.system.vault)
        check_log(events)
        asked_for = [each for each in events if not isinstance(each.event, OrderRecorded)]
        check_writes(shop.ledger.writes, asked_for)
        assert {write.path for write in shop.lost.writes} == {"/user"}
        await check_lists(shop.system, shop.api, events)
        assert await shown(postgres) == expected(events)
        await eventually(lambda: shop.holds_states_of(postgres), SEEN_WITHIN_SECONDS)
    records = await shop.records(shop.config.events_topic)
    published = {event.position: event.id for event in events_of(records)}
    assert published == {event.position: event.id for event in events}
    states = await shop.records(shop.config.state_topic)
    assert epochs(records) == epochs(states) == {told["epoch"].encode()}
    ended = json.loads(await shop.system.command("log", "epochs", "--json"))
    assert ended["epoch"] == told["epoch"]
    assert [each["epoch"] for each in ended["ended"]] == [told["ended"]]


async def test_a_caller_who_names_the_epoch_is_told_that_it_ended(shop: Shop) -> None:
    await shop.start("api")
    created = await shop.create(1, shop.ledger)
    await shop.stop()
    told = json.loads(await shop.system.command("log", "new-epoch", "--json"))
    await shop.start("api")
    for method, path in (("GET", created.path), ("DELETE", created.path)):
        status, code = await shop.ask(method, path, told["ended"])
        assert (status, code) == (412, "epoch_changed")
    assert await shop.ask("GET", created.path, told["epoch"]) == (200, None)


async def test_without_a_new_epoch_nothing_is_published_or_shown(shop: Shop) -> None:
    await shop.lose_the_latest()
    published = await shop.records(shop.config.events_topic)
    for name in ("relay", "projections"):
        await shop.ends_with(name, "was set back")

    await shop.start("api")  # and its events get to positions that Kafka knows of others
    new = await shop.create(NEW, Ledger())
    assert new.position > max(write.answers[0].position or 0 for write in shop.lost.writes)
    for name in ("relay", "projections"):
        await shop.ends_with(name, "customers log new-epoch")
    assert await shop.records(shop.config.events_topic) == published
    listed = await shop.caller.get("/user?display=100")
    assert json.loads(listed.body)["count"] == KEPT


async def test_a_new_epoch_waits_for_no_role_to_be_at_work(shop: Shop) -> None:
    await shop.start("api", "relay")
    refused = await asyncio.to_thread(
        run, shop.system.folder, "log", "new-epoch", **shop.system.settings
    )
    assert refused.returncode == 1
    assert "At work on this database: api, relay." in refused.stderr
    assert json.loads(await shop.system.command("log", "epochs", "--json"))["ended"] == []


async def test_topics_of_the_epoch_before_are_refused_until_they_are_made_anew(shop: Shop) -> None:
    await shop.lose_the_latest()
    await shop.system.command("log", "new-epoch")
    published = await shop.records(shop.config.events_topic)
    for name in ("relay", "projections"):
        await shop.ends_with(name, "holds the events of another log")
    assert await shop.records(shop.config.events_topic) == published
