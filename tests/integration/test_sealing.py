"""Personal data in the database: sealed from the first write on, and gone with its key."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from typing_extensions import override

from service.appender import Appender
from service.command_handler import CommandHandler
from service.customer import CreateCustomer, UpdateCustomer
from service.errors import Corrupt, NotFound, Unavailable
from service.event_log import EventLog, Key, Replayed, StreamHead
from service.events import CustomerChanges, CustomerCreated, Position
from service.identifiers import CustomerId, new_customer_id
from service.master_key import MasterKey, WrappingKey
from service.postgres import Postgres
from service.vault import Vault
from tests.support.dump import dump
from tests.support.logs import a_request, appending
from tests.support.sealing import KEY_DAMAGES, World
from tests.support.vaults import KEY, VAULT

SECRETS = ("jane@example.com", "janet@example.com", "Janet", "Doubtfire", "+1-555-0123", "hush")


@pytest.fixture
async def world(database: str) -> AsyncIterator[World]:
    async with Postgres.connect(database) as postgres, appending(postgres) as appender:
        log = EventLog(postgres, VAULT)
        yield World(postgres, appender, log, CommandHandler(log, appender))


def found(haystack: bytes) -> list[str]:
    return [secret for secret in SECRETS if secret.encode() in haystack]


async def test_nothing_personal_lies_in_clear_in_the_log(world: World) -> None:
    await world.jane()
    await world.postgres.execute("ANALYZE")
    assert found(await dump(world.postgres)) == []
    first, _ = await world.log.page(Position(0))
    assert first.decoded().event == CustomerCreated(
        email="jane@example.com",
        first_name="Janet",
        last_name="Doubtfire",
        phone="+1-555-0123",
        metadata={"hush": "hush"},
    )


async def test_a_deletion_destroys_the_key_and_the_history_stays(world: World) -> None:
    customer_id = await world.jane()
    await world.delete(customer_id)
    created, updated, deleted = await world.log.page(Position(0))
    assert [created.is_forgotten, updated.is_forgotten, deleted.is_forgotten] == [True, True, False]
    assert found((created.data + updated.data).encode()) == []
    assert created.decoded().event == CustomerCreated(email="")
    kept = await world.postgres.fetch(
        lambda *row: row, "SELECT wrapped, destroyed_at IS NULL FROM vault.customer_key"
    )
    assert kept == [(None, False)]
    assert await world.postgres.fetch(str, "SELECT email FROM log.email_claim") == []
    again = new_customer_id()
    await world.handler.handle(a_request(again, CreateCustomer(id=again, email="jane@example.com")))


async def test_another_process_that_knew_the_customer_changes_nothing_after_a_deletion(
    world: World,
) -> None:
    customer_id = await world.jane()
    other = world.stranger()
    await other.handle(a_request(customer_id, UpdateCustomer(CustomerChanges(first_name="Jan"))))
    await world.delete(customer_id)
    with pytest.raises(NotFound, match="customer_deleted"):
        await other.handle(
            a_request(customer_id, UpdateCustomer(CustomerChanges(first_name="Joan")))
        )


async def test_changes_and_a_deletion_at_once_leave_no_key(world: World) -> None:
    customer_id = await world.jane()
    others = [world.stranger() for _ in range(8)]
    change = a_request(customer_id, UpdateCustomer(CustomerChanges(first_name="Jan")))
    await asyncio.gather(
        *(each.handle(change) for each in others),
        world.delete(customer_id),
        return_exceptions=True,
    )
    *before, last = [each async for each in world.log.stream("default", customer_id)]
    assert last.event.type == "customer.deleted"
    assert all("Jan" not in repr(each.event) for each in before)


async def test_a_lost_key_is_a_clear_error_and_not_a_deletion(world: World) -> None:
    customer_id = await world.jane()
    await world.postgres.execute("DELETE FROM vault.customer_key")
    await world.jane_is_damaged()
    with pytest.raises(Corrupt, match="is lost"):
        await world.stranger().handle(
            a_request(customer_id, UpdateCustomer(CustomerChanges(first_name="Jan")))
        )
    assert (await world.log.head()).position == 2


@pytest.mark.parametrize("damage", KEY_DAMAGES.values(), ids=KEY_DAMAGES.keys())
async def test_a_damaged_key_is_a_clear_error(damage: str, world: World) -> None:
    customer_id = await world.jane()
    await world.postgres.execute(damage)
    await world.jane_is_damaged()
    with pytest.raises(Corrupt, match="damaged"):
        await world.stranger().handle(
            a_request(customer_id, UpdateCustomer(CustomerChanges(first_name="Jan")))
        )
    assert (await world.log.head()).position == 2


async def test_with_another_master_key_nothing_is_read_and_nothing_is_written(
    world: World,
) -> None:
    customer_id = await world.jane()
    stranger = Vault(MasterKey.of(b"o" * 32))
    with pytest.raises(Unavailable, match="master_key_outdated"):
        await EventLog(world.postgres, stranger).page(Position(0))
    appender = Appender(world.postgres, stranger)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(appender.run())
        handler = CommandHandler(EventLog(world.postgres, stranger), appender)
        new = new_customer_id()
        for request in (
            a_request(customer_id, UpdateCustomer(CustomerChanges(first_name="Jan"))),
            a_request(new, CreateCustomer(id=new, email="joe@example.com")),
        ):
            with pytest.raises(Unavailable, match="master_key_outdated"):
                await handler.handle(request)
        appender.stop()
    assert (await world.log.head()).position == 2


async def test_a_writer_takes_up_the_new_master_key_under_way(world: World) -> None:
    await world.jane()
    new = KEY.with_wrapping(WrappingKey(b"n" * 32), *KEY.wrapping)

    class Provider:
        def read(self) -> MasterKey:
            return new

        def create(self) -> MasterKey:
            raise NotImplementedError

        def replace(self, key: MasterKey) -> None:
            raise NotImplementedError

    await world.postgres.execute("UPDATE vault.wrapping_key SET id = $1", new.wrapping[0].id)
    vault = Vault(KEY, Provider())
    appender = Appender(world.postgres, vault)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(appender.run())
        handler = CommandHandler(EventLog(world.postgres, vault), appender)
        joe = new_customer_id()
        await handler.handle(a_request(joe, CreateCustomer(id=joe, email="joe@example.com")))
        appender.stop()
    wrapped = await world.postgres.fetch_one(
        bytes, "SELECT wrapped FROM vault.customer_key WHERE customer_id = $1", joe
    )
    assert wrapped is not None
    assert wrapped.startswith(new.wrapping[0].id)


class Overtaken(EventLog):
    """The customer is deleted just after this one has looked where the stream stands."""

    delete: Callable[[], Awaitable[None]] | None = None

    @override
    async def stream_and_key(
        self, tenant: str, customer_id: CustomerId, key: str | None
    ) -> tuple[StreamHead | None, tuple[bytes, Replayed] | None]:
        found = await super().stream_and_key(tenant, customer_id, key)
        if self.delete is not None:
            delete, self.delete = self.delete, None
            await delete()
        return found


async def test_a_key_that_is_replayed_as_the_customer_goes_answers_nobody(world: World) -> None:
    customer_id = await world.jane()
    key = Key("k-1", b"print", 200)
    change = a_request(customer_id, UpdateCustomer(CustomerChanges(first_name="Jan")), key=key)
    await world.handler.handle(change)
    log = Overtaken(world.postgres, VAULT)
    log.delete = lambda: world.delete(customer_id)
    with pytest.raises(NotFound, match="customer_deleted"):
        await CommandHandler(log, world.appender).handle(change)


async def test_a_lost_key_is_an_error_for_who_remembers_the_customer_too(world: World) -> None:
    customer_id = await world.jane()
    await world.postgres.execute("DELETE FROM vault.customer_key")
    VAULT.drop(customer_id)
    change = UpdateCustomer(CustomerChanges(first_name="Jan"))
    with pytest.raises(Corrupt, match=f"the key of {customer_id} is lost"):
        await world.handler.handle(a_request(customer_id, change))


async def test_a_write_that_fetches_its_key_as_the_process_ends_is_refused_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer_id = await world.jane()
    VAULT.drop(customer_id)
    fetch_one = Postgres.fetch_one

    async def as_it_ends(postgres: Postgres, *arguments: object) -> object:
        found = await fetch_one(postgres, *arguments)  # type: ignore[arg-type]
        world.appender.stop()
        return found

    monkeypatch.setattr(Postgres, "fetch_one", as_it_ends)
    change = UpdateCustomer(CustomerChanges(first_name="Jan"))
    with pytest.raises(Unavailable, match="This process is ending"):
        await world.handler.handle(a_request(customer_id, change))


async def test_a_destroyed_key_leaves_its_dead_row_soon(world: World) -> None:
    (options,) = await world.postgres.fetch(
        list, "SELECT reloptions FROM pg_class WHERE oid = 'vault.customer_key'::regclass"
    )
    assert "autovacuum_vacuum_threshold=0" in options  # more dead rows than this, and it comes


async def test_a_customer_whose_key_is_lost_can_be_deleted(world: World) -> None:
    customer_id = await world.jane()
    await world.postgres.execute("DELETE FROM vault.customer_key")
    await world.delete(customer_id)  # by who remembers the customer
    assert [each.is_forgotten for each in await world.log.page(Position(0))] == [True, True, False]
