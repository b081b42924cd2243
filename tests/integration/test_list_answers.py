"""The list against a naive model of it: whatever is asked, both give the same answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import get_args

import orjson
import pytest

from service.event_log import EventLog
from service.list_request import ListRequest, SortKey
from service.postgres import Postgres
from service.queries import Queries
from service.queries.list_shape import CountBy, Route, Table
from tests.servers.databases import Databases
from tests.support.list_customers import DAY, TENANTS, ListedCustomers, awkward_customers
from tests.support.list_model import ListModel, shown
from tests.support.list_requests import Requests
from tests.support.list_shapes import Taken, every_piece, noting, taking_any_way
from tests.support.read_model_seed import SeededCustomer, generate, seed_read_model
from tests.support.vaults import VAULT

CUSTOMERS = 300
KEY = b"k" * 32
REQUESTS_MIN = 400
REQUESTS_MAX = 4_000

VIP, RARE = ("vip",), ("segment 99",)
LARGE = [
    ListRequest(page=page, display=100, sort=(SortKey(field, is_descending),), tags=tags)
    for page in (1, 9, 12, 28, 50, 51)
    for field, is_descending in (("createdAt", True), ("totalSpent", True), ("firstName", False))
    for tags in ((), VIP, RARE)
]


@dataclass
class Both:
    """The list and its model, over the same customers."""

    queries: Queries
    model: ListModel
    customers: list[SeededCustomer]

    async def compare(self, tenant: str, request: ListRequest) -> str | None:
        """Fail unless both answer alike; the next cursor."""
        body = orjson.loads((await self.queries.list(tenant, request)).body)
        every = self.model.matching(tenant, request)
        page = self.model.page(tenant, request)
        assert [model["id"] for model in body["models"]] == [each.id for each in page], request
        assert body["models"] == [shown(each) for each in page]
        assert (body["count"], body["page"]) == (len(every), request.page), request
        assert body["display"] == request.display
        assert (body["nextCursor"] is not None) == (len(every) > request.page * request.display)
        return body["nextCursor"]

    async def walk(self, tenant: str, request: ListRequest, cursor: str | None) -> None:
        """From after a page to the end: every row that is left, once and in order."""
        every = self.model.matching(tenant, request)
        ids = [each.id for each in every[request.page * request.display :]]
        page = request.page
        met: list[str] = []
        while cursor is not None:
            page += 1
            following = replace(request, page=1, cursor=cursor)
            body = orjson.loads((await self.queries.list(tenant, following)).body)
            assert (body["count"], body["page"]) == (len(every), page)
            assert body["models"]
            met += [model["id"] for model in body["models"]]
            assert met == ids[: len(met)], request
            cursor = body["nextCursor"]
        assert met == ids, request


@pytest.fixture(scope="module")
async def both(databases: Databases) -> AsyncIterator[Both]:
    url = await databases.create()
    customers = awkward_customers(CUSTOMERS, seed=1)
    async with Postgres.connect(url) as postgres:
        listed = ListedCustomers(postgres)
        await listed.add_tenants()
        await listed.write(customers)
        queries = Queries(postgres, EventLog(postgres, VAULT), KEY)
        yield Both(queries, ListModel(customers), customers)
    await databases.drop(url)


@pytest.mark.parametrize("seed", range(4))
async def test_any_request_is_answered_as_the_model_does(both: Both, seed: int) -> None:
    requests = Requests(both.customers, seed=seed)
    for number in range(100):
        await both.compare(TENANTS[number % 2], requests.next())


@pytest.mark.parametrize("seed", range(2))
async def test_cursors_lead_through_every_row_once(both: Both, seed: int) -> None:
    requests = Requests(both.customers, seed=100 + seed)
    for number in range(30):
        tenant, request = TENANTS[number % 2], requests.next(filter_share=0.06)
        await both.walk(tenant, request, await both.compare(tenant, request))


WAYS: Mapping[str, frozenset[object]] = {
    "routes and pagings": frozenset(
        {
            *(("walk", paging) for paging in ("first", "later", "far_end", "day")),
            *(("capped", paging) for paging in ("first", "later", "far_end")),
            *(("tagged", paging) for paging in ("first", "later", "far_end")),
            *(("gather", paging) for paging in ("first", "later")),
        }
    ),
    "halves": frozenset({("later", ()), *(("first", after) for after in ((), (True,), (False,)))}),
    "counts": frozenset(get_args(CountBy)),
    "counts alone": frozenset({"scan", "since", "until", "between"}),
    "bases": frozenset({("profile", True), *((base, False) for base in get_args(Table))}),
    "walks that are cut": frozenset({True}),
    "pieces": frozenset(every_piece()),
}


def ways_of(taken: Taken) -> dict[str, set[object]]:
    return {
        "routes and pagings": {*taken.ways()},
        "halves": {*taken.ways_in_halves()},
        "counts": {shape.count for shape in taken.pages},
        "counts alone": {shape.count for shape in taken.counts} & WAYS["counts alone"],
        "bases": {(shape.base, shape.by_tag) for shape in taken.pages},
        "walks that are cut": {taken.cut_walks > 0},
        "pieces": {*taken.pieces()} & WAYS["pieces"],
    }


async def test_the_answer_is_the_same_by_every_way_of_reading(both: Both) -> None:
    """Customers' ids are drawn anew in each run, so how soon every way was taken differs."""
    requests = Requests(both.customers, seed=7)
    with taking_any_way(seed=8) as taken:
        for number in range(REQUESTS_MAX):
            tenant, request = TENANTS[number % 2], requests.next(page_max=40, filter_share=0.08)
            cursor = await both.compare(tenant, request)
            if number % 5 == 0:
                await both.walk(tenant, request, cursor)
            if (number + 1) % REQUESTS_MIN == 0 and ways_of(taken) == WAYS:
                break
    assert ways_of(taken) == WAYS


async def test_large_lists_are_read_the_near_way_and_answered_the_same(database: str) -> None:
    customers = list(generate(5_000, small_tenants=False))
    await seed_read_model(database, customers)
    model, taken = ListModel(customers), Taken()
    async with Postgres.connect(database) as postgres:
        both = Both(Queries(postgres, EventLog(postgres, VAULT), KEY), model, customers)
        with noting(taken):
            for request in LARGE:
                await both.compare("default", request)
    assert {("walk", "day"), ("walk", "far_end"), ("tagged", "far_end")} < taken.ways()
    assert {route for route, _ in taken.ways()} == set(get_args(Route))


async def test_a_tag_and_an_hour_and_a_sum_may_be_asked_for_together(both: Both) -> None:
    """The hour is weighed alone first, without the tag."""
    request = ListRequest(
        tags=("rare",), since=DAY, until=DAY + timedelta(hours=9), min_spent=1, sort=LARGE[1].sort
    )
    await both.compare("default", request)
