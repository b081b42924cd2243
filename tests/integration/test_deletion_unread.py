"""Deleting a customer whose events cannot be read, by a process that remembers nothing of her."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from service.command_handler import CommandHandler
from service.customer import CreateCustomer, DeleteCustomer, UpdateCustomer
from service.errors import Corrupt, PreconditionFailed
from service.event_log import EventLog, Key
from service.events import CustomerChanges
from service.identifiers import new_customer_id
from service.postgres import Postgres
from tests.support.logs import a_request, appending
from tests.support.sealing import KEY_DAMAGES, World
from tests.support.vaults import VAULT

DAMAGES = {
    **KEY_DAMAGES,
    "lost": "DELETE FROM vault.customer_key",
    "sealed part": "SET LOCAL session_replication_role = replica;"
    " UPDATE log.event SET sealed = '' WHERE version = 1",
    "no model fits": "SET LOCAL session_replication_role = replica;"
    " UPDATE log.event SET sealed = NULL, data = '{}' WHERE version = 1",
    "unknown type": "SET LOCAL session_replication_role = replica;"
    " UPDATE log.event SET type = 'customer.unheard_of' WHERE version = 2",
}


@pytest.fixture
async def world(database: str) -> AsyncIterator[World]:
    async with Postgres.connect(database) as postgres, appending(postgres) as appender:
        log = EventLog(postgres, VAULT)
        yield World(postgres, appender, log, CommandHandler(log, appender))


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
async def test_a_customer_who_cannot_be_read_can_be_forgotten(damage: str, world: World) -> None:
    customer_id = await world.jane()
    async with world.postgres.transaction() as transaction:
        await transaction.execute(damage)
    stranger = world.stranger()
    with pytest.raises(Corrupt):
        await stranger.handle(
            a_request(customer_id, UpdateCustomer(CustomerChanges(first_name="Jan")))
        )
    deletion = a_request(customer_id, DeleteCustomer(), key=Key("k-1", b"print", 204))
    with pytest.raises(PreconditionFailed):
        await stranger.handle(deletion._replace(expected_versions=frozenset({1}), key=None))
    written = await stranger.handle(deletion._replace(expected_versions=frozenset({2})))
    assert (written.customer.version, written.customer.is_deleted, written.position) == (3, True, 3)
    again = await stranger.handle(deletion)
    assert (again.customer.version, again.position, again.is_replayed) == (3, 3, True)
    kept = await world.postgres.fetch(
        lambda *row: row, "SELECT wrapped, destroyed_at IS NULL FROM vault.customer_key"
    )
    assert kept == [(None, False)]
    assert await world.postgres.fetch(str, "SELECT email FROM log.email_claim") == []
    new = new_customer_id()
    await stranger.handle(a_request(new, CreateCustomer(id=new, email="janet@example.com")))


async def test_forgetting_who_cannot_be_read_leaves_the_addresses_of_others(world: World) -> None:
    customer_id = await world.jane()
    joe = new_customer_id()
    await world.handler.handle(a_request(joe, CreateCustomer(id=joe, email="joe@example.com")))
    await world.postgres.execute(
        "UPDATE vault.customer_key SET wrapped = '' WHERE customer_id = $1", customer_id
    )
    await world.stranger().handle(a_request(customer_id, DeleteCustomer()))
    assert await world.postgres.fetch(str, "SELECT customer_id FROM log.email_claim") == [joe]
