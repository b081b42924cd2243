"""What happened to a customer, and all that is held about one, over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp
import orjson
import pytest

from service.order_intake import Recorder
from service.postgres import Postgres
from tests.support.api import Api
from tests.support.orders import a_message

PLACED = "2024-03-10T08:00:00.000Z"


@dataclass
class Shop:
    """An API, and the orders of its customers."""

    api: Api
    postgres: Postgres

    async def record(self, path: str, *orders: dict[str, object], version: int = 1) -> None:
        customer_id = path.rpartition("/")[2]
        messages = [
            a_message(f"ord_{number}", version, customer_id, **order)
            for number, order in enumerate(orders)
        ]
        assert set(await Recorder(self.postgres).record(messages)) == {"recorded"}

    async def events(self, path: str, query: str = "") -> list[dict[str, object]]:
        answer = await self.api.get(f"{path}/events?{query}")
        assert answer.status == 200, answer.body
        return answer.json["events"]


@pytest.fixture
async def shop(api: Api, database: str) -> AsyncIterator[Shop]:
    async with Postgres.connect(database) as postgres:
        yield Shop(api, postgres)


async def test_an_event_says_what_happened_who_asked_and_what_changed(shop: Shop) -> None:
    path = await shop.api.create(firstName="Jane")
    await shop.api.put(path, {"firstName": "Janet"}, x_request_id="request-2")
    customer = (await shop.api.get(path)).json
    answer = await shop.api.get(f"{path}/events")
    assert (answer.status, answer.headers["ETag"]) == (200, '"2"')
    assert list(answer.json) == ["count", "events", "nextCursor"]
    assert (answer.json["count"], answer.json["nextCursor"]) == (2, None)
    created, updated = answer.json["events"]
    assert str(updated.pop("id")).startswith("evt_")
    assert str(updated["actor"].pop("id")).startswith("tok_")
    assert updated.pop("position") == int(answer.headers["As-Of-Position"])
    assert updated == {
        "version": 2,
        "type": "customer.updated.v1",
        "time": customer["updatedAt"],
        "actor": {"type": "token", "name": "tests"},
        "requestId": "request-2",
        "data": {"changes": {"firstName": "Janet"}},
        "changes": {"firstName": {"from": "Jane", "to": "Janet"}},
    }
    assert (created["type"], created["time"]) == ("customer.created.v1", customer["createdAt"])
    assert created["data"]["email"] == "jane@example.com"
    assert created["changes"]["firstName"] == {"from": None, "to": "Jane"}
    assert "phone" not in created["changes"]


async def test_an_order_shows_what_became_of_the_roll_ups(shop: Shop) -> None:
    path = await shop.api.create()
    await shop.record(path, {"total": 5_000})
    await shop.record(path, {"total": 5_000, "refunded": 500}, version=2)
    placed, refunded = await shop.events(path, "after=1")
    assert (placed["type"], placed["actor"]) == (
        "customer.order_recorded.v1",
        {"type": "system", "id": "intake", "name": None},
    )
    assert placed["data"]["order"]["orderId"] == "ord_0"
    [shown] = (await shop.api.get(f"{path}/orders")).json["models"]
    assert placed["data"]["order"]["placedAt"] == shown["placedAt"] == PLACED
    assert placed["changes"] == {
        "orderCount": {"from": 0, "to": 1},
        "totalSpent": {"from": 0, "to": 5_000},
        "spentByCurrency": {"from": {}, "to": {"USD": 5_000}},
        "lastOrderAt": {"from": None, "to": PLACED},
    }
    assert refunded["changes"] == {
        "totalSpent": {"from": 5_000, "to": 4_500},
        "spentByCurrency": {"from": {"USD": 5_000}, "to": {"USD": 4_500}},
    }


async def test_pages_follow_each_other_by_cursor_and_by_version(shop: Shop) -> None:
    path = await shop.api.create()
    for number in range(6):
        await shop.api.post(f"{path}/tag", {"tags": [f"tag {number}"]})
    whole = await shop.events(path)
    assert [each["version"] for each in whole] == list(range(1, 8))
    found: list[object] = []
    query = "display=3"
    for _ in range(3):
        answer = await shop.api.get(f"{path}/events?{query}")
        found += answer.json["events"]
        assert answer.json["count"] == 7
        query = f"display=3&cursor={answer.json['nextCursor']}"
    assert found == whole
    assert answer.json["nextCursor"] is None
    assert await shop.events(path, "after=2&display=3") == whole[2:5]
    for after in (7, 8, 2**63 - 1):
        past = await shop.api.get(f"{path}/events?after={after}")
        assert past.json == {"count": 7, "events": [], "nextCursor": None}


async def test_a_history_that_is_known_is_not_sent_again(shop: Shop) -> None:
    path = await shop.api.create()
    first = await shop.api.get(f"{path}/events")
    same = await shop.api.get(f"{path}/events", if_none_match=first.headers["ETag"])
    assert (same.status, same.body) == (304, b"")
    await shop.record(path, {})
    changed = await shop.api.get(f"{path}/events", if_none_match=first.headers["ETag"])
    assert (changed.status, changed.json["count"]) == (200, 2)


@pytest.mark.parametrize("route", ["events", "export"])
async def test_who_is_not_there_has_no_history(shop: Shop, route: str) -> None:
    path = await shop.api.create()
    other = await shop.api.with_scopes("customers:read", "customers:erase", tenant="other")
    assert (await other.get(f"{path}/{route}")).code == "customer_not_found"
    assert (await shop.api.get(f"/user/cust_nobody/{route}")).code == "customer_not_found"
    assert (await shop.api.get(f"/user/%00/{route}")).code == "customer_not_found"
    assert (await shop.api.with_token(None).get(f"{path}/{route}")).code == "missing_token"
    assert (await shop.api.delete(path)).status == 204
    deleted = await shop.api.get(f"{path}/{route}")
    assert (deleted.status, deleted.code) == (404, "customer_deleted")


async def test_reading_is_for_readers_and_exporting_for_who_may_erase(shop: Shop) -> None:
    path = await shop.api.create()
    reader = await shop.api.with_scopes("customers:read", "customers:write")
    eraser = await shop.api.with_scopes("customers:erase")
    assert (await reader.get(f"{path}/events")).status == 200
    assert (await reader.get(f"{path}/export")).code == "insufficient_scope"
    assert (await eraser.get(f"{path}/events")).code == "insufficient_scope"
    assert (await eraser.get(f"{path}/export")).status == 200


async def test_a_cursor_is_good_for_its_customer_alone(shop: Shop) -> None:
    path, other = await shop.api.create(), await shop.api.create("john@example.com")
    await shop.record(path, {}, {})
    cursor = (await shop.api.get(f"{path}/events?display=1")).json["nextCursor"]
    assert [each["version"] for each in await shop.events(path, f"cursor={cursor}")] == [2, 3]
    assert (await shop.api.get(f"{other}/events?cursor={cursor}")).code == "invalid_cursor"
    assert (await shop.api.get(f"{path}/events?cursor={cursor[:-1]}")).code == "invalid_cursor"
    assert (await shop.api.get(f"{path}/orders?cursor={cursor}")).code == "invalid_cursor"
    orders = (await shop.api.get(f"{path}/orders?display=1")).json["nextCursor"]
    assert (await shop.api.get(f"{path}/events?cursor={orders}")).code == "invalid_cursor"


@pytest.mark.parametrize(
    ("query", "code"),
    [("display=0", "invalid_parameter"), ("display=101", "invalid_parameter"),
     ("after=-1", "invalid_parameter"), ("after=x", "invalid_parameter"),
     ("after=1&after=2", "invalid_parameter"), ("page=1", "unknown_parameter"),
     (f"after={2**63}", "invalid_parameter"), ("after=1&cursor=x", "invalid_parameter")],
)  # fmt: skip
async def test_values_that_cannot_be_used(shared_api: Api, query: str, code: str) -> None:
    answer = await shared_api.get(f"/user/cust_1/events?{query}")
    assert (answer.status, answer.code) == (400, code)
    unknown = await shared_api.get(f"/user/cust_1/export?{query}")
    assert (unknown.status, unknown.code) == (400, "unknown_parameter")


async def test_the_parameter_beside_a_cursor_is_named(shared_api: Api) -> None:
    answer = await shared_api.get("/user/cust_1/events?after=1&cursor=x")
    assert answer.fault_codes == {"after": "cursor_excludes_after"}


async def test_an_export_is_what_the_other_routes_say(shop: Shop) -> None:
    path = await shop.api.create(firstName="Zoë", tags=["vip"])
    await shop.record(path, {}, {"placedAt": "2024-03-12T08:00:00Z"}, {"status": "cancelled"})
    await shop.api.put(path, {"phone": "+1-555-0123"})
    export = await shop.api.get(f"{path}/export")
    assert (export.status, export.headers["Content-Type"]) == (200, "application/json")
    assert export.headers["Cache-Control"] == "no-store"
    assert export.headers["X-Request-Id"]
    document = export.json
    customer = await shop.api.get(path)
    assert document.pop("exportedAt") >= customer.json["updatedAt"]
    assert document == {
        "asOfPosition": int(customer.headers["As-Of-Position"]),
        "customer": customer.json,
        "events": await shop.events(path),
        "orders": (await shop.api.get(f"{path}/orders")).json["models"],
    }
    assert export.headers["ETag"] == customer.headers["ETag"]
    assert export.headers["As-Of-Position"] == customer.headers["As-Of-Position"]
    head = await shop.api.call("HEAD", f"{path}/export")
    assert (head.status, head.body, head.headers["ETag"]) == (200, b"", export.headers["ETag"])
    assert (await shop.api.get(path)).status == 200  # the connection serves on


async def test_a_customer_who_has_nothing_else_is_exported_whole(shop: Shop) -> None:
    path = await shop.api.create()
    document = (await shop.api.get(f"{path}/export")).json
    assert (len(document["events"]), document["orders"]) == (1, [])


async def shown(shop: Shop) -> None:
    """Wait until the read model shows all there is."""
    made = await shop.api.post("/user", {"email": "last@example.com"})
    position = made.headers["Log-Position"]
    for _ in range(50):  # of 0.2 seconds each at most
        answer = await shop.api.get(f"/user?minPosition={position}")
        if answer.status == 200:
            return
    raise AssertionError(answer.body)


async def read_into(received: bytearray, answer: aiohttp.ClientResponse) -> None:
    async for chunk in answer.content.iter_any():
        received += chunk


async def test_what_fails_midway_never_looks_finished(shop: Shop) -> None:
    path = await shop.api.create()
    await shop.record(path, *[{}] * 600)
    await shown(shop)
    await shop.postgres.execute(
        "ALTER TABLE log.event DISABLE TRIGGER ALL;"
        " UPDATE log.event SET data = '{}' WHERE version = 500"
    )
    received = bytearray()
    headers = {"Authorization": f"Bearer {shop.api.token}"}
    async with shop.api.session.get(f"{shop.api.url}{path}/export", headers=headers) as answer:
        assert (answer.status, answer.headers["Transfer-Encoding"]) == (200, "chunked")
        with pytest.raises((aiohttp.ClientPayloadError, aiohttp.ClientConnectionError)):
            await read_into(received, answer)
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(received)
    assert (await shop.api.get(path)).status == 200
