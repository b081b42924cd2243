"""Partitions of the log into files and back, and what everybody reads meanwhile."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from time import monotonic

import pytest
from pyarrow import parquet

from projections.upkeep import still_needed
from service.command_handler import CommandHandler
from service.customer import AddTags, DeleteCustomer, UpdateCustomer, evolve
from service.errors import ConfigurationError, Corrupt, EventsArchived, NotFound, Unavailable
from service.event_log import EventLog
from service.events import CustomerChanges, Position, Version
from service.identifiers import CustomerId
from service.kafka import Topics
from service.log_archive import Conditions, archived_partitions, hold_upkeep, partitions, upkeep
from service.migrations import migrate
from service.postgres import Postgres
from service.snapshots import Snapshot
from tests.servers.server import Handle
from tests.support.archiving import (
    POSITIONS,
    TRIGGERS,
    Archive,
    age,
    old_customers,
    open_reader,
    small_partitions,
    stored,
)
from tests.support.logs import a_request, appending
from tests.support.relays import is_true
from tests.support.topics import eventually
from tests.support.users import users_of
from tests.support.vaults import VAULT
from tests.support.verifying import System, a_system

WAIT_SECONDS_MAX = 1.0  # for a write, while a partition is taken away


@pytest.fixture
async def system(database: str, kafka_server: Handle, topic_suffix: str) -> AsyncIterator[System]:
    async with a_system(database, kafka_server, topic_suffix) as made:
        await small_partitions(made.postgres)
        yield made


@pytest.fixture
def archive(system: System, tmp_path: Path) -> Archive:
    return Archive(system.postgres, tmp_path)


def log_of(system: System) -> EventLog:
    return EventLog(system.postgres, VAULT)


async def documents(system: System, customers: list[CustomerId]) -> list[bytes]:
    """What is folded of each, by another process, which remembers nothing."""
    found: list[bytes] = []
    for each in customers:
        customer = None
        async for event in log_of(system).folding("default", each):
            customer = evolve(customer, event)
        assert customer is not None
        found.append(customer.document("USD").json_bytes())
    return found


async def test_what_was_archived_and_attached_is_the_same_byte_by_byte(
    system: System, archive: Archive
) -> None:
    await old_customers(system, 3)
    before = await stored(system.postgres)
    names = [each.name for each in await partitions(system.postgres)]
    paths = await archive.archive(2)
    assert archive.steps == ["written", "verified", "snapshots made", "archived"] * 2
    left = await stored(system.postgres)
    assert left == before[2 * POSITIONS - 1 :]
    assert [each.name for each in await partitions(system.postgres)] == names[2:]
    assert await archive.archived_to() == 2 * POSITIONS - 1

    rows = [row for path in paths for row in parquet.read_table(path).to_pylist()]
    assert [row["position"] for row in rows] == list(range(1, 2 * POSITIONS))
    sealed = [row for row in rows if row["sealed"] is not None]
    assert len(sealed) > 10
    for each, path in zip(await archived_partitions(system.postgres), paths, strict=True):
        assert each.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        assert path.with_suffix(".sha256").read_text() == f"{each.sha256}  {path.name}\n"
        assert path.stat().st_mode & 0o777 == 0o600

    await archive.attach()
    assert await stored(system.postgres) == before[POSITIONS - 1 :]
    await archive.attach()
    assert await stored(system.postgres) == before
    assert [each.name for each in await partitions(system.postgres)] == names
    assert await archived_partitions(system.postgres) == []
    assert await system.postgres.fetch(str, "SELECT customer_id FROM log.snapshot") == []


async def test_what_was_attached_can_no_more_be_changed_than_before(
    system: System, archive: Archive
) -> None:
    await old_customers(system, 1)
    oldest = await archive.next()
    await archive.archive()
    await archive.attach()
    assert await system.postgres.fetch_one(int, TRIGGERS, oldest.name) == 2
    for statement in (
        "UPDATE log.event SET type = 'x' WHERE position = 1",
        "DELETE FROM log.event WHERE position = 1",
        f"TRUNCATE log.{oldest.name}",
    ):
        with pytest.raises(Corrupt, match="event_append_only"):
            await system.postgres.execute(statement)


async def test_customers_go_on_from_their_states(system: System, archive: Archive) -> None:
    customers = await old_customers(system, 4)
    before = await documents(system, customers)
    await archive.archive()
    assert await documents(system, customers) == before
    await archive.archive(2)  # now a state goes on from another one
    assert await documents(system, customers) == before

    handler = system.handler  # of a process that remembers nothing
    old = customers[0]
    change = UpdateCustomer(changes=CustomerChanges(first_name="Grace"))
    written = await handler.handle(a_request(old, change))
    assert written.customer.first_name == "Grace"
    assert written.customer.orders.order_count == 2
    await system.order(old, f"{old}_new", 1)
    tagged = await system.handler.handle(a_request(old, AddTags(("late",))))
    assert tagged.customer.orders.order_count == 3
    assert tagged.customer.version == written.customer.version + 2

    await archive.attach()
    await archive.attach()
    await archive.attach()
    stream = [each async for each in log_of(system).folding("default", old)]
    assert not any(isinstance(each, Snapshot) for each in stream)
    whole = None
    for each in stream:
        whole = evolve(whole, each)
    assert whole == tagged.customer


async def test_a_process_that_remembers_an_old_state_goes_on_too(
    system: System, archive: Archive
) -> None:
    (who, *_) = await system.traffic(1)
    remembering = CommandHandler(log_of(system), system.model.appender)
    await remembering.handle(a_request(who, AddTags(("one",))))
    await system.handler.handle(a_request(who, AddTags(("two",))))  # unknown to the first
    await old_customers(system, 2)
    await archive.archive(2)
    written = await remembering.handle(a_request(who, AddTags(("three",))))
    assert {"one", "two", "three"} <= set(written.customer.tags)


async def test_nobody_who_reads_the_log_passes_over_what_is_archived(
    system: System, archive: Archive
) -> None:
    (old, *_) = await old_customers(system, 2)
    log = log_of(system)
    head = (await log.head()).position
    await archive.archive(2)
    last = await archive.archived_to()
    for after in (0, 1, last - 1):
        with pytest.raises(EventsArchived) as raised:
            await log.page(Position(after))
        assert raised.value.last == last
        with pytest.raises(EventsArchived):
            await log.page(Position(after), limit=1)
        with pytest.raises(EventsArchived):
            await log.of_tenant("default", None, after, head, limit=10)
        with pytest.raises(EventsArchived):
            await log.of_tenant("nobody", None, after, head, limit=10)
    page = await log.page(Position(last))
    assert [each.position for each in page] == list(range(last + 1, head + 1))
    assert await log.page(Position(head)) == []
    with pytest.raises(EventsArchived):
        await log.of_customers(("", 0), "cust_z", limit=10)
    with pytest.raises(EventsArchived):
        [each async for each in log.stream("default", old)]
    with pytest.raises(EventsArchived, match=f"positions 1 to {last:,} are archived.*log attach"):
        await log.of_customer(old, 0, limit=1000) or await log.require(0)


async def test_a_deletion_forgets_who_is_archived(system: System, archive: Archive) -> None:
    customers = await old_customers(system, 2)
    await archive.archive(2)
    count = "SELECT count(*) FROM log.snapshot WHERE customer_id = $1"
    old = customers[0]
    assert await system.postgres.fetch_one(int, count, old) >= 1
    await system.handler.handle(a_request(old, DeleteCustomer()))
    assert await system.postgres.fetch_one(int, count, old) == 0
    with pytest.raises(NotFound, match="customer_deleted"):
        [each async for each in log_of(system).folding("default", old)]


async def test_a_file_that_is_not_what_was_archived_is_refused(
    system: System, archive: Archive, tmp_path: Path
) -> None:
    await old_customers(system, 2)
    first, second = await archive.archive(2)
    whole = second.read_bytes()
    middle = len(whole) // 2
    for damaged in (
        whole[:-1],
        whole + b"x",
        whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
        first.read_bytes(),
        b"",
    ):
        second.write_bytes(damaged)
        with pytest.raises(Corrupt, match="not the file that was archived"):
            await archive.attach()
        assert await archive.archived_to() == 2 * POSITIONS - 1
    second.write_bytes(whole)
    # As if the database took it for the right one: what it holds tells.
    await system.postgres.execute(
        "UPDATE log.archived SET sha256 = (SELECT sha256 FROM log.archived WHERE first_position"
        " = 1), file_bytes = (SELECT file_bytes FROM log.archived WHERE first_position = 1)"
    )
    with pytest.raises(Corrupt, match="holds positions"):
        await archive.attach(first)
    assert await archive.archived_to() == 2 * POSITIONS - 1


async def test_a_file_that_differs_from_the_log_takes_nothing_away(
    system: System, archive: Archive
) -> None:
    """It was written, and then the database was restored from elsewhere, or the disk lies."""
    await old_customers(system, 1)
    oldest = await archive.next()
    (path,) = await archive.archive()
    await archive.attach()
    await system.damage(
        "UPDATE log.event SET data = data || '{\"x\": 1}' WHERE position = 3",
    )
    with pytest.raises(Corrupt, match="differ in positions"):
        await archive.archive()
    assert (await archive.next()) == oldest._replace(bytes=(await archive.next()).bytes)
    assert path.exists()


async def test_who_waits_behind_a_reader_is_let_on_and_nothing_is_lost(
    system: System, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writers write all the time, and a reader never ends at first."""
    monkeypatch.setattr(upkeep, "PAUSE_SECONDS", 0.05)
    await old_customers(system, 2)
    slowest, stop, written = 0.0, asyncio.Event(), 0

    async def write() -> None:
        nonlocal slowest, written
        (who, *_) = await system.traffic(1)
        handler = system.handler
        while not stop.is_set():
            started = monotonic()
            await handler.handle(a_request(who, AddTags((f"t{written}",))))
            written += 1
            slowest = max(slowest, monotonic() - started)

    async with asyncio.TaskGroup() as group:
        group.create_task(write())
        async with open_reader(system.postgres):
            archiving = group.create_task(archive.archive(2))
            await eventually(lambda: is_true(written >= 100 and len(archive.steps) == 3))
            assert await archive.archived_to() == 0
        await archiving
        stop.set()
    assert slowest < WAIT_SECONDS_MAX
    assert await archive.archived_to() == 2 * POSITIONS - 1
    head = (await log_of(system).head()).position
    there = await system.postgres.fetch(int, "SELECT position FROM log.event ORDER BY position")
    assert there == list(range(2 * POSITIONS, head + 1))
    await archive.attach()
    await archive.attach()
    there = await system.postgres.fetch(int, "SELECT position FROM log.event ORDER BY position")
    assert there == list(range(1, head + 1))


async def test_a_reader_that_never_ends_is_given_up_for(
    system: System, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "ATTEMPTS_MAX", 2)
    monkeypatch.setattr(upkeep, "PAUSE_SECONDS", 0.01)
    await old_customers(system, 1)
    async with open_reader(system.postgres):
        with pytest.raises(Unavailable):
            await archive.archive()
    assert await archive.archived_to() == 0


async def test_one_at_a_time(system: System) -> None:
    async with hold_upkeep(system.postgres):
        with pytest.raises(ConfigurationError, match="is at work"):
            async with hold_upkeep(system.postgres):
                pass


async def test_what_somebody_still_needs_stays(system: System, archive: Archive) -> None:
    async def refused(text: str) -> None:
        with pytest.raises(ConfigurationError, match=text):
            await archive.archive()
        assert await archive.archived_to() == 0

    async def needs(reader: Postgres, position: int) -> list[str]:
        return await still_needed(reader, position, has_states=True)

    archive.conditions = Conditions(30 * 86_400.0, system.topic, needs)
    await system.traffic(1)
    await refused("it is not full")
    await old_customers(system, 2)
    await refused("0.0 days old, and 30.0 are asked for")
    await age(system.postgres, 2 * POSITIONS)
    await refused("the relay has published up to position 0 to")
    await refused("the projection customers_v1 has applied up to position 0")
    await refused("the projection states_v1 has applied up to position 0")
    await system.settle()
    await system.postgres.execute(
        "INSERT INTO projection.parked (projection, version, customer_id, tenant, stream_version,"
        " position, reason) VALUES ('customers', 1, 'cust_x', 'default', 1, 5, 'refused')"
    )
    await refused("1 customers are parked")
    await system.postgres.execute("DELETE FROM projection.parked")
    await system.postgres.execute(
        "INSERT INTO projection.version (projection, version, state)"
        " VALUES ('customers', 2, 'building')"
    )
    await refused("version 2 of the read model is being built")
    await system.postgres.execute("DELETE FROM projection.version WHERE version = 2")
    await system.postgres.execute(
        "INSERT INTO derived.projection (name, version, shape) VALUES ('spend', 1, '')"
    )
    await refused("the projection spend_v1 has applied up to position 0")
    await system.postgres.execute("DELETE FROM derived.projection")
    await archive.archive()
    assert await archive.archived_to() == POSITIONS - 1


async def test_a_topic_of_states_that_was_made_anew_is_written_from_the_read_model(
    system: System, archive: Archive
) -> None:
    await old_customers(system, 2)
    await system.settle()
    await archive.archive(2)
    config = system.config
    async with Topics.connect(config) as topics:
        await topics.delete(config.state_topic.name)
        await topics.create_missing([config.state_topic])
    await system.settle()
    await system.written.assert_exact()
    assert (await system.verify()).listed == []


async def test_a_projection_that_begins_anew_ends_with_a_sentence(
    system: System, archive: Archive
) -> None:
    await old_customers(system, 1)
    await archive.archive()
    with pytest.raises(EventsArchived, match="customers log attach"):
        await system.model.runner().run()
    assert await system.model.checkpoints.position() == 0


async def test_each_process_has_the_rights_that_it_needs(
    system: System, archive: Archive, database: str
) -> None:
    customers = await old_customers(system, 1)
    await migrate(database)  # grants on a database itself are not copied with it
    await archive.archive()
    async with users_of(database) as users:
        async with Postgres.connect(users["customers_api"]) as api, appending(api) as appender:
            handler = CommandHandler(EventLog(api, VAULT), appender)
            written = await handler.handle(a_request(customers[0], AddTags(("new",))))
            assert "new" in written.customer.tags
            deleted = await handler.handle(a_request(customers[1], DeleteCustomer()))
            assert deleted.position > 0
        for role in ("customers_relay", "customers_projections"):
            async with Postgres.connect(users[role]) as postgres:
                log = EventLog(postgres, VAULT)
                with pytest.raises(EventsArchived):
                    await log.page(Position(0))
                assert await log.page(await log.archived_to())
    held = await system.postgres.fetch(str, "SELECT customer_id FROM log.snapshot")
    assert customers[1] not in held


async def test_who_cannot_be_read_keeps_the_partition(system: System, archive: Archive) -> None:
    customers = await old_customers(system, 1)
    who = customers[0]
    await system.damage(f"DELETE FROM vault.customer_key WHERE customer_id = '{who}'")  # noqa: S608
    with pytest.raises(Corrupt, match=f"1 customers who cannot be read.*{who}"):
        await archive.archive()
    assert await archive.archived_to() == 0


async def test_a_verification_says_what_is_archived_and_finds_what_is_wrong(
    system: System, archive: Archive
) -> None:
    customers = await old_customers(system, 3)
    await system.settle()
    await archive.archive(2)
    findings = await system.verify()
    assert findings.listed == []
    assert system.log is not None
    assert system.compared is not None
    head = (await log_of(system).head()).position
    assert system.log.archived_to == 2 * POSITIONS - 1
    assert system.log.events == head - system.log.archived_to
    assert system.log.archived_customers == system.compared.archived > 0
    assert system.compared.customers > 0

    async with system.mended("log.snapshot"):
        await system.damage(f"DELETE FROM log.snapshot WHERE customer_id = '{customers[0]}'")  # noqa: S608
        found = [(each.kind, each.customer_id) for each in (await system.verify()).listed]
        assert ("missing", customers[0]) in found
    async with system.mended("log.snapshot"):
        await system.damage("UPDATE log.snapshot SET sealed = sealed || '\\x00'")
        assert "does not open" in " ".join(each.detail for each in (await system.verify()).listed)
    async with system.mended("log.archived"):
        await system.damage("DELETE FROM log.archived WHERE first_position = 1")
        assert "does not follow" in (await system.verify()).listed[0].detail


async def test_a_deletion_after_a_look_is_no_state(
    system: System, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is deleted while the states are made has none afterwards, and no partition waits."""
    customers = await old_customers(system, 1)
    who = customers[0]
    from service.log_archive import folding

    original = folding._Folding.end

    async def delete_first(self: folding._Folding) -> None:
        await system.handler.handle(a_request(who, DeleteCustomer()))
        await original(self)

    monkeypatch.setattr(folding._Folding, "end", delete_first)
    await archive.archive()
    held = await system.postgres.fetch(str, "SELECT customer_id FROM log.snapshot")
    assert who not in held
    assert held


async def test_a_restored_state_is_the_state(system: System) -> None:
    """Whatever was in the stream, before and after."""
    from service.customer import snapshot_state
    from service.events import Order, OrderRecorded
    from service.snapshots import SNAPSHOT_SCHEMA, decode_state, encode_state

    (who, *_) = await system.traffic(1)
    events = [each async for each in log_of(system).stream("default", who)]
    states = []
    customer = None
    for each in events:
        customer = evolve(customer, each)
        states.append(customer)
    for number, each in enumerate(events):
        orders: dict[str, Order] = {}
        for before in events[: number + 1]:
            if isinstance(before.event, OrderRecorded):
                orders[before.event.order.order_id] = before.event.order
        state = snapshot_state(states[number], orders.values())
        again = decode_state(SNAPSHOT_SCHEMA, encode_state(state))
        customer = evolve(
            None, Snapshot(who, "default", Version(number + 1), each.position, each.time, again)
        )
        assert customer == states[number]
        for after in events[number + 1 :]:
            customer = evolve(customer, after)
        assert customer == states[-1]
