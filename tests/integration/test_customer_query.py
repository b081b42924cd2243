"""One customer by id: always as the log has it, however far the read model is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from random import Random

import orjson
import pytest

from service.command_handler import CommandHandler
from service.customer import AddTags, CreateCustomer, DeleteCustomer, fold
from service.errors import Corrupt, NotFound
from service.event_log import EventLog
from service.events import CustomerTagged, OrderRecorded
from service.identifiers import CustomerId, new_customer_id
from service.queries import Found, Queries
from tests.support.histories import an_order
from tests.support.logs import a_change, a_creation, a_request
from tests.support.projections import (
    CURRENCIES,
    Projected,
    a_history,
    append_history,
    projected,
)
from tests.support.vaults import VAULT

KEY = b"k" * 32


@dataclass
class World:
    """A log, its read model, and gets from both."""

    model: Projected
    queries: Queries
    commands: CommandHandler

    async def create(
        self, *, tenant: str = "default", email: str = "jane@example.com"
    ) -> CustomerId:
        creation = a_creation(email, tenant=tenant)
        await self.model.appender.append(creation)
        return creation.customer_id

    async def tag(self, customer_id: CustomerId, version: int, *tags: str) -> None:
        await self.model.appender.append(a_change(customer_id, version, CustomerTagged(tags=tags)))

    async def get(
        self, customer_id: str, *, tenant: str = "default", currency: str = "USD"
    ) -> Found:
        return await self.queries.get(tenant, CustomerId(customer_id), currency)

    async def document(self, customer_id: str) -> dict[str, object]:
        return orjson.loads((await self.get(customer_id)).document)

    async def refusal(self, customer_id: str, *, tenant: str = "default") -> str:
        with pytest.raises(NotFound) as refused:
            await self.get(customer_id, tenant=tenant)
        return refused.value.code


@pytest.fixture
async def world(database: str) -> AsyncIterator[World]:
    async with projected(database) as model:
        log = EventLog(model.postgres, VAULT)
        queries = Queries(model.postgres, log, KEY)
        yield World(model, queries, CommandHandler(log, model.appender))


async def test_a_customer_is_there_before_the_read_model_knows(world: World) -> None:
    customer_id = await world.create()
    found = await world.get(customer_id)
    assert (found.version, found.position) == (1, 1)
    document = orjson.loads(found.document)
    assert (document["id"], document["email"]) == (customer_id, "jane@example.com")


async def test_what_the_read_model_lacks_is_folded_from_the_log(world: World) -> None:
    customer_id = await world.create()
    await world.model.catch_up()
    await world.create(email="john@example.com")
    await world.tag(customer_id, 1, "vip")
    found = await world.get(customer_id)
    assert (found.version, found.position) == (2, 3)
    assert (await world.document(customer_id))["tags"] == ["vip"]


async def test_both_ways_give_the_same_bytes_and_places(world: World) -> None:
    """Whatever happened to the customers: orders, addresses, numbers of any kind."""
    history = a_history(Random(5), steps=300, customers=12)
    await append_history(world.model.appender, history)
    ends = {event.customer_id: event.tenant for event in history}

    async def every() -> list[Found | str]:
        return [
            await _found_or_code(world, customer_id, tenant)
            for customer_id, tenant in sorted(ends.items())
        ]

    folded = await every()
    await world.model.catch_up()
    assert await every() == folded
    living = [each for each in folded if isinstance(each, Found)]
    assert len(living) > 4
    assert "customer_deleted" in folded


async def _found_or_code(world: World, customer_id: str, tenant: str) -> Found | str:
    try:
        return await world.get(customer_id, tenant=tenant, currency=CURRENCIES[tenant])
    except NotFound as error:
        return error.code


async def test_a_document_that_is_shown_is_answered_as_it_stands(world: World) -> None:
    """Current rows are not folded anew: the test changes one where nobody else would."""
    customer_id = await world.create()
    await world.model.catch_up()
    await world.model.postgres.execute("UPDATE customers_v1.customer SET document = '{}'")
    assert (await world.get(customer_id)).document == b"{}"
    await world.tag(customer_id, 1, "vip")
    assert (await world.document(customer_id))["tags"] == ["vip"]


async def test_another_tenants_customer_is_not_found(world: World) -> None:
    customer_id = await world.create(tenant="other")
    for _ in range(2):
        assert await world.refusal(customer_id) == "customer_not_found"
        assert (await world.get(customer_id, tenant="other")).version == 1
        await world.model.catch_up()


@pytest.mark.parametrize(
    "customer_id", ["", "cust_0", "nonsense", "cust_é", "\0", "cust_\0", "\ud800", "%", "x" * 5_000]
)
async def test_ids_of_nobody_are_not_found(world: World, customer_id: str) -> None:
    assert await world.refusal(customer_id) == "customer_not_found"


async def test_deleted_customers_are_said_to_be_deleted(world: World) -> None:
    customer_id = new_customer_id()
    create = CreateCustomer(id=customer_id, email="jane@example.com")
    await world.commands.handle(a_request(customer_id, create))
    await world.model.catch_up()
    await world.commands.handle(a_request(customer_id, DeleteCustomer()))
    assert await world.refusal(customer_id) == "customer_deleted"  # the read model is behind
    await world.model.catch_up()
    assert await world.refusal(customer_id) == "customer_deleted"
    assert await world.refusal(customer_id, tenant="other") == "customer_not_found"


async def test_an_order_after_the_deletion_brings_nobody_back(world: World) -> None:
    customer_id = new_customer_id()
    create = CreateCustomer(id=customer_id, email="jane@example.com")
    await world.commands.handle(a_request(customer_id, create))
    await world.commands.handle(a_request(customer_id, DeleteCustomer()))
    order = OrderRecorded(order=an_order("ord_1", 1, total=500))
    await world.model.appender.append(a_change(customer_id, 2, order))
    assert await world.refusal(customer_id) == "customer_deleted"
    await world.model.catch_up()
    assert await world.refusal(customer_id) == "customer_deleted"


async def test_a_parked_customer_is_answered_from_the_log(world: World) -> None:
    """The read model refuses an event of one customer; the log is still read."""
    refused, other = await world.create(), await world.create(email="john@example.com")
    await world.model.postgres.execute(
        "ALTER TABLE customers_v1.customer ADD CONSTRAINT refused"
        f" CHECK (id <> '{refused}' OR version < 2)"
    )
    await world.tag(refused, 1, "vip")
    await world.tag(other, 1, "vip")
    await world.model.catch_up()
    assert world.model.observed.reasons == ["refused"]
    await world.tag(refused, 2, "more")
    await world.model.catch_up()
    assert (await world.document(refused))["tags"] == ["vip", "more"]
    assert (await world.get(refused)).version == 3
    assert (await world.document(other))["tags"] == ["vip"]


async def test_a_log_that_cannot_be_read_is_never_guessed_at(world: World) -> None:
    customer_id = await world.create()
    await world.tag(customer_id, 1, "vip")
    await world.model.postgres.execute(
        "ALTER TABLE log.event DISABLE TRIGGER ALL;"
        " UPDATE log.event SET data = '{}' WHERE version = 2"
    )
    with pytest.raises(Corrupt):
        await world.get(customer_id)


async def test_many_gets_at_once_each_get_their_own(world: World) -> None:
    created = await asyncio.gather(
        *(world.create(email=f"{number}@example.com") for number in range(60))
    )
    await world.model.catch_up()
    asked = [*created, "cust_0", *reversed(created)]
    found = await asyncio.gather(*(world.get(each) for each in asked), return_exceptions=True)
    assert isinstance(found.pop(60), NotFound)
    asked.remove("cust_0")
    assert [orjson.loads(each.document)["id"] for each in found] == asked


async def test_a_get_after_a_write_shows_it_while_the_projection_works(world: World) -> None:
    customer_id = new_customer_id()
    create = CreateCustomer(id=customer_id, email="jane@example.com")
    await world.commands.handle(a_request(customer_id, create))
    projecting = asyncio.create_task(world.model.runner(batch_events_max=1).run())
    for number in range(1, 41):
        await world.commands.handle(a_request(customer_id, AddTags((f"tag {number}",))))
        found = await world.get(customer_id)
        assert found.version == found.position == number + 1
        assert len(orjson.loads(found.document)["tags"]) == number
    stream = EventLog(world.model.postgres, VAULT).stream("default", customer_id)
    customer = fold([event async for event in stream])
    assert customer is not None
    assert (await world.get(customer_id)).document == customer.document("USD").json_bytes()
    projecting.cancel()
    await asyncio.wait([projecting])
