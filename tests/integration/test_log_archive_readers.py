"""What everybody reads while a part of the log is archived."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest

from service.command_handler import CommandHandler
from service.customer import AddTags, DeleteCustomer, UpdateCustomer, evolve
from service.errors import EventsArchived, NotFound
from service.event_log import EventLog
from service.events import CustomerChanges, Position, Version
from service.kafka import Topics
from service.migrations import migrate
from service.postgres import Postgres
from service.snapshots import Snapshot
from tests.servers.server import Handle
from tests.support.archiving import (
    POSITIONS,
    Archive,
    documents,
    log_of,
    old_customers,
    small_partitions,
)
from tests.support.exporting import export
from tests.support.logs import a_request, appending
from tests.support.users import users_of
from tests.support.vaults import VAULT
from tests.support.verifying import System, a_system


@pytest.fixture
async def system(database: str, kafka_server: Handle, topic_suffix: str) -> AsyncIterator[System]:
    async with a_system(database, kafka_server, topic_suffix) as made:
        await small_partitions(made.postgres)
        yield made


@pytest.fixture
def archive(system: System, tmp_path: Path) -> Archive:
    return Archive(system.postgres, tmp_path)


async def test_customers_go_on_from_their_states(system: System, archive: Archive) -> None:
    old, *_ = await old_customers(system, 1)
    await system.handler.handle(a_request(old, AddTags(("between",))))
    await system.order(old, f"{old}_between", 1)
    customers = [old, *await old_customers(system, 4)]
    before = await documents(system, customers)
    await archive.archive()
    assert await documents(system, customers) == before
    await archive.archive(2)  # now a state goes on from another one
    assert await documents(system, customers) == before

    handler = system.handler  # of a process that remembers nothing
    change = UpdateCustomer(changes=CustomerChanges(first_name="Grace"))
    written = await handler.handle(a_request(old, change))
    assert written.customer.first_name == "Grace"
    assert written.customer.orders.order_count == 3
    await system.order(old, f"{old}_new", 1)
    tagged = await system.handler.handle(a_request(old, AddTags(("late",))))
    assert tagged.customer.orders.order_count == 4
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


async def test_an_export_of_a_tenant_takes_no_partition_that_comes_back_for_an_empty_one(
    system: System, archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await old_customers(system, 1)
    await archive.archive()
    original = Postgres.copy_out

    async def attach_after(
        self: Postgres, take: Callable[[bytes], None], sql: str, arguments: Mapping[str, str]
    ) -> None:
        await original(self, take, sql, arguments)
        await archive.attach()

    monkeypatch.setattr(Postgres, "copy_out", attach_after)
    folder = tmp_path / "exported"
    folder.mkdir()
    with pytest.raises(EventsArchived):
        await export(system.postgres, folder, last=POSITIONS - 1, tenant="default")
    assert list(folder.iterdir()) == []


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


async def test_a_deletion_leaves_no_state_where_the_key_was_lost_before(
    system: System, archive: Archive
) -> None:
    customers = await old_customers(system, 1)
    await archive.archive()
    of_whom = "SELECT count(*) FROM log.snapshot WHERE customer_id = $1"
    assert await system.postgres.fetch(int, of_whom, customers[0]) == [1]
    await system.postgres.execute(
        "DELETE FROM vault.customer_key WHERE customer_id = $1", customers[0]
    )
    await system.handler.handle(a_request(customers[0], DeleteCustomer()))
    assert await system.postgres.fetch(int, of_whom, customers[0]) == [0]


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
