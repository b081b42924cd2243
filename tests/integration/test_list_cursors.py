"""Cursors of the list: whose they are, and what they lead to while customers come and go."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta

import orjson
import pytest

from service.errors import Rejected
from service.event_log import EventLog
from service.list_request import SORT_FIELDS, ListRequest, SortKey
from service.postgres import Postgres
from service.queries import Queries
from tests.support.list_customers import (
    DAY,
    MILLISECOND,
    TENANTS,
    ListedCustomers,
    awkward_customers,
)
from tests.support.list_model import ListModel
from tests.support.read_model_seed import SeededCustomer
from tests.support.vaults import VAULT

KEY = b"k" * 32
TENANT, OTHER = TENANTS
NEWEST = (SortKey("createdAt", is_descending=True),)
FILTERED = ListRequest(
    display=2,
    sort=NEWEST,
    q="e",
    tags=("vip",),
    since=DAY - timedelta(days=500),
    active=True,
    min_spent=0,
)
OTHER_LISTS = [
    replace(FILTERED, sort=(SortKey("createdAt", is_descending=False),)),
    replace(FILTERED, sort=(SortKey("updatedAt", is_descending=True),)),
    replace(FILTERED, sort=(*NEWEST, SortKey("email", is_descending=False))),
    replace(FILTERED, q="a"),
    replace(FILTERED, q=None),
    replace(FILTERED, tags=("vip", "é")),
    replace(FILTERED, tags=()),
    replace(FILTERED, since=DAY - timedelta(days=500) + MILLISECOND),
    replace(FILTERED, since=None),
    replace(FILTERED, until=DAY),
    replace(FILTERED, updated_since=DAY),
    replace(FILTERED, active=False),
    replace(FILTERED, active=None),
    replace(FILTERED, email="jane@example.com"),
    replace(FILTERED, min_spent=1),
    replace(FILTERED, max_spent=0),
    replace(FILTERED, min_orders=0),
    replace(FILTERED, max_orders=0),
]


@dataclass
class World:
    """Customers, their list, and a way to change them."""

    postgres: Postgres
    queries: Queries
    listed: ListedCustomers
    customers: list[SeededCustomer]

    async def page(
        self, request: ListRequest, tenant: str = TENANT
    ) -> tuple[list[str], str | None]:
        body = orjson.loads((await self.queries.list(tenant, request)).body)
        return [model["id"] for model in body["models"]], body["nextCursor"]

    async def cursor(self, request: ListRequest, tenant: str = TENANT) -> str:
        _, cursor = await self.page(request, tenant)
        assert cursor is not None
        return cursor


@pytest.fixture
async def world(database: str) -> AsyncIterator[World]:
    async with Postgres.connect(database) as postgres:
        customers = awkward_customers(80, seed=3)
        listed = ListedCustomers(postgres)
        await listed.add_tenants()
        await listed.write(customers)
        yield World(postgres, Queries(postgres, EventLog(postgres, VAULT), KEY), listed, customers)


async def test_a_cursor_is_one_tenants_of_one_filter_and_one_sort(world: World) -> None:
    cursor = await world.cursor(FILTERED)
    assert (await world.page(replace(FILTERED, cursor=cursor)))[0]
    elsewhere = [(TENANT, request) for request in OTHER_LISTS]
    for tenant, request in [*elsewhere, (OTHER, FILTERED)]:
        with pytest.raises(Rejected) as refused:
            await world.page(replace(request, cursor=cursor), tenant)
        assert [fault.code for fault in refused.value.faults] == ["invalid_cursor"], request


async def test_it_holds_for_the_same_list_however_it_is_asked_for(world: World) -> None:
    cursor = await world.cursor(replace(FILTERED, q="e a", tags=("vip", "é"), display=1))
    asked = replace(FILTERED, q="Á  e É", tags=("É", "VIP", "vip"), display=100, cursor=cursor)
    same = replace(FILTERED, q="e a", tags=("vip", "é"), display=100)
    every, _ = await world.page(same)
    assert (await world.page(asked))[0] == every[1:] != []


async def test_every_process_makes_the_same_cursor(world: World) -> None:
    cursor = await world.cursor(FILTERED)
    other_process = Queries(world.postgres, EventLog(world.postgres, VAULT), KEY)
    body = orjson.loads((await other_process.list(TENANT, FILTERED)).body)
    assert body["nextCursor"] == cursor
    stranger = Queries(world.postgres, EventLog(world.postgres, VAULT), b"s" * 32)
    with pytest.raises(Rejected):
        await stranger.list(TENANT, replace(FILTERED, cursor=cursor))


@pytest.mark.parametrize("is_descending", [True, False])
@pytest.mark.parametrize("field", SORT_FIELDS)
async def test_customers_who_come_and_go_meanwhile_move_nobody_else(
    world: World, field: str, is_descending: bool
) -> None:
    """Who was there from beginning to end is met once, in order; also when the cursor's own row is
    deleted meanwhile, and others come in before and behind it."""
    request = ListRequest(display=5, sort=(SortKey(field, is_descending),))
    every = [each for each in world.customers if each.tenant == TENANT]
    newcomers = iter([replace(each, id=f"{each.id}new") for each in every])
    gone = 0
    met, cursor = await world.page(request)
    while cursor is not None:
        for customer in [each for each in every if each.id == met[-1]]:
            every.remove(customer)
            await world.listed.delete(customer)
            gone += 1
        await world.listed.write([next(newcomers), next(newcomers)])
        ids, cursor = await world.page(replace(request, cursor=cursor))
        met += ids
    stayed = [each.id for each in ListModel(every).matching(TENANT, request)]
    assert [customer_id for customer_id in met if customer_id in stayed] == stayed
    assert len(set(met)) == len(met)
    assert gone > 3


async def test_a_customer_who_moves_behind_the_cursor_is_met_where_it_is_now(world: World) -> None:
    request = ListRequest(display=3, sort=(SortKey("email", is_descending=False),))
    ids, cursor = await world.page(request)
    first = next(each for each in world.customers if each.id == ids[0])
    await world.listed.delete(first)
    await world.listed.write([replace(first, id=f"{first.id}again", email="zzz@example.com")])
    later, _ = await world.page(replace(request, cursor=cursor, display=100))
    assert later[-1] == f"{first.id}again"
