"""A customer's orders over HTTP: what each adds and why, page by page, always current."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from service.event_log import EventLog
from service.order_intake import Recorder
from service.postgres import Postgres
from service.queries import Queries
from tests.support.api import Answer, Api, serving_api
from tests.support.logs import appending
from tests.support.orders import a_message, add_tenant
from tests.support.projections import Projected
from tests.support.up_to_date_queries import CURSOR_KEY
from tests.support.vaults import VAULT

CANCELLED = {"status": "cancelled"}


@dataclass
class Shop:
    """An API; its read model shows what `settle` has been called after, or never anything."""

    api: Api
    projected: Projected
    has_rows: bool

    async def settle(self) -> None:
        if self.has_rows:
            await self.projected.catch_up()

    async def record(self, path: str, *orders: dict[str, object], version: int = 1) -> None:
        customer_id = path.rpartition("/")[2]
        messages = [
            a_message(f"ord_{number}", version, customer_id, **order)
            for number, order in enumerate(orders)
        ]
        recorder = Recorder(self.projected.postgres)
        assert set(await recorder.record(messages)) == {"recorded"}
        await self.settle()


@pytest.fixture(params=["rows", "log"])
async def shop(database: str, request: pytest.FixtureRequest) -> AsyncIterator[Shop]:
    async with Postgres.connect(database) as postgres, appending(postgres) as appender:
        await add_tenant(postgres, "default")
        queries = Queries(
            postgres, EventLog(postgres, VAULT), CURSOR_KEY, min_position_wait_seconds=0.2
        )
        async with serving_api(postgres, queries) as api:
            yield Shop(api, Projected(postgres, appender), request.param == "rows")


def ids(answer: Answer) -> list[object]:
    assert answer.status == 200, answer.body
    return [model["orderId"] for model in answer.json["models"]]


async def test_an_order_says_what_it_adds_and_why(shop: Shop) -> None:
    path = await shop.api.create()
    await shop.record(path, {"total": 5_000, "captured": 4_500, "refunded": 500}, CANCELLED)
    answer = await shop.api.get(f"{path}/orders")
    assert answer.status == 200
    assert answer.json["count"] == 2
    assert answer.json["nextCursor"] is None
    cancelled, paid = answer.json["models"]
    assert paid == {
        "orderId": "ord_0",
        "orderVersion": 1,
        "status": "paid",
        "currency": "USD",
        "total": 5_000,
        "captured": 4_500,
        "refunded": 500,
        "placedAt": "2024-03-10T08:00:00.000Z",
        "test": False,
        "countable": True,
        "contribution": 4_000,
        "reason": "captured 4500 less 500 refunded",
    }
    assert (cancelled["countable"], cancelled["contribution"]) == (False, 0)
    assert cancelled["reason"] == "cancelled orders do not count"
    customer = (await shop.api.get(path)).json
    assert (customer["orderCount"], customer["totalSpent"]) == (1, 4_000)


async def test_only_the_last_version_of_an_order_is_shown(shop: Shop) -> None:
    path = await shop.api.create()
    await shop.record(path, {}, {})
    await shop.record(path, {"refunded": 1_000}, version=2)
    answer = await shop.api.get(f"{path}/orders")
    assert [(model["orderVersion"], model["contribution"]) for model in answer.json["models"]] == [
        (1, 1_000), (2, 0)
    ]  # fmt: skip


async def test_the_latest_come_first_and_pages_follow_each_other(shop: Shop) -> None:
    path = await shop.api.create()
    days = [3, 1, 2, 2, 1, 3, 2]
    times = [f"2024-03-0{day}T08:00:00.00{number}Z" for number, day in enumerate(days)]
    times[3] = times[2]  # then the id decides
    await shop.record(path, *({"placedAt": time} for time in times))
    numbers = sorted(range(7), key=lambda number: (times[number], number), reverse=True)
    whole = await shop.api.get(f"{path}/orders?display=7")
    assert ids(whole) == [f"ord_{number}" for number in numbers]
    assert whole.json["nextCursor"] is None

    found: list[object] = []
    query = "display=3"
    for _ in range(3):
        answer = await shop.api.get(f"{path}/orders?{query}")
        found += ids(answer)
        assert answer.json["count"] == 7
        query = f"display=3&cursor={answer.json['nextCursor']}"
    assert found == ids(whole)
    assert answer.json["nextCursor"] is None


async def test_a_customer_without_orders_has_an_empty_list(shop: Shop) -> None:
    path = await shop.api.create()
    await shop.settle()
    answer = await shop.api.get(f"{path}/orders")
    assert (answer.status, answer.json) == (200, {"count": 0, "nextCursor": None, "models": []})


async def test_it_is_current_even_where_the_read_model_is_behind(shop: Shop) -> None:
    path = await shop.api.create()
    await shop.record(path, {})
    shop.has_rows = False
    await shop.record(path, {"refunded": 400}, version=2)
    (order,) = (await shop.api.get(f"{path}/orders")).json["models"]
    assert (order["orderVersion"], order["contribution"]) == (2, 600)


async def test_an_order_of_a_later_cent_changes_the_validator(shop: Shop) -> None:
    path = await shop.api.create()
    await shop.record(path, {})
    first = await shop.api.get(f"{path}/orders")
    assert first.headers["ETag"] == (await shop.api.get(path)).headers["ETag"] == '"2"'
    same = await shop.api.get(f"{path}/orders", if_none_match=first.headers["ETag"])
    assert (same.status, same.body) == (304, b"")
    await shop.record(path, {"total": 1_001}, version=2)
    changed = await shop.api.get(f"{path}/orders", if_none_match=first.headers["ETag"])
    assert (changed.status, changed.headers["ETag"]) == (200, '"3"')
    assert int(changed.headers["As-Of-Position"]) > int(first.headers["As-Of-Position"])


async def test_a_position_is_waited_for(shop: Shop) -> None:
    path = await shop.api.create()
    await shop.record(path, {})
    other = await shop.api.post("/user", {"email": "other@example.com"})
    await shop.settle()
    position = other.headers["Log-Position"]
    answer = await shop.api.get(f"{path}/orders?minPosition={position}")
    if shop.has_rows:
        assert ids(answer) == ["ord_0"]
        assert int(answer.headers["As-Of-Position"]) >= int(position)
        answer = await shop.api.get(f"{path}/orders?minPosition={int(position) + 1}")
    assert (answer.status, answer.code) == (503, "projection_lag")


async def test_who_is_not_there_has_no_orders(shop: Shop) -> None:
    path = await shop.api.create()
    await shop.record(path, {})
    other = await shop.api.with_scopes("customers:read", tenant="other")
    assert (await other.get(f"{path}/orders")).code == "customer_not_found"
    assert (await shop.api.get("/user/cust_nobody/orders")).code == "customer_not_found"
    assert (await shop.api.get("/user/%00/orders")).code == "customer_not_found"
    writer = await shop.api.with_scopes("customers:write")
    assert (await writer.get(f"{path}/orders")).code == "insufficient_scope"
    assert (await shop.api.delete(path)).status == 204
    assert (await shop.api.get(f"{path}/orders")).code == "customer_deleted"


async def test_a_cursor_is_good_for_its_customer_alone(shop: Shop) -> None:
    path, other = await shop.api.create(), await shop.api.create("john@example.com")
    await shop.record(path, {}, {})
    cursor = (await shop.api.get(f"{path}/orders?display=1")).json["nextCursor"]
    assert (await shop.api.get(f"{path}/orders?cursor={cursor}")).status == 200
    assert (await shop.api.get(f"{other}/orders?cursor={cursor}")).code == "invalid_cursor"
    assert (await shop.api.get(f"{path}/orders?cursor={cursor[:-1]}")).code == "invalid_cursor"
    assert (await shop.api.get(f"/user?cursor={cursor}")).code == "invalid_cursor"


@pytest.mark.parametrize(
    ("query", "code"),
    [("display=0", "invalid_parameter"), ("display=101", "invalid_parameter"),
     ("page=1", "unknown_parameter"), ("minPosition=x", "invalid_parameter")],
)  # fmt: skip
async def test_values_that_cannot_be_used(shared_api: Api, query: str, code: str) -> None:
    answer = await shared_api.get(f"/user/cust_1/orders?{query}")
    assert (answer.status, answer.code) == (400, code)
