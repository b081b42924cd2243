"""The feed of the log over HTTP, page by page: a tenant's events, all of them and in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

import aiohttp
import orjson
import pytest

from service.http import feed as http_feed
from service.order_intake import Recorder
from service.postgres import Postgres
from service.queries import feed as queries_feed
from tests.support.api import Answer, Api
from tests.support.orders import a_message

WRITERS = 8
WRITES_EACH = 12
ALL = "SELECT position FROM log.event WHERE tenant = $1 ORDER BY position"


@dataclass
class Log:
    """An API, and the table behind it."""

    api: Api
    postgres: Postgres

    async def positions(self, tenant: str = "default") -> list[int]:
        return await self.postgres.fetch(int, ALL, tenant)


@pytest.fixture
async def log(api: Api, database: str) -> AsyncIterator[Log]:
    async with Postgres.connect(database) as postgres:
        yield Log(api, postgres)


def lines_of(answer: Answer) -> list[dict[str, object]]:
    assert answer.status == 200, answer.body
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    assert answer.body.endswith(b"\n") or not answer.body
    return [orjson.loads(line) for line in answer.body.splitlines()]


def place_of(answer: Answer) -> int:
    return int(answer.headers["As-Of-Position"])


async def read_all(
    api: Api, query: str = "limit=3", *, until: Callable[[], bool] = lambda: True
) -> list[dict[str, object]]:
    """By As-Of-Position, to the end of the log that is there once `until` holds."""
    found: list[dict[str, object]] = []
    place = 0
    while True:
        is_last = until()
        answer = await api.get(f"/events?after={place}&{query}")
        lines = lines_of(answer)
        found += lines
        assert all(place < each["position"] <= place_of(answer) for each in lines)
        if is_last and place == place_of(answer):
            return found
        place = place_of(answer)


async def test_a_line_says_what_a_customers_history_says(log: Log) -> None:
    path = await log.api.create(firstName="Zoë\n")
    await log.api.put(path, {"firstName": "Janet"})
    answer = await log.api.get("/events")
    customer = await log.api.get(path)
    assert answer.headers["Log-Epoch"] == customer.headers["Log-Epoch"]
    assert answer.headers["As-Of-Position"] == customer.headers["As-Of-Position"]
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Request-Id"]
    history = (await log.api.get(f"{path}/events")).json["events"]
    shown = ("position", "id", "type", "version", "time", "actor", "data")
    assert lines_of(answer) == [
        {
            **{name: event[name] for name in shown},
            "epoch": answer.headers["Log-Epoch"],
            "customerId": customer.json["id"],
        }
        for event in history
    ]
    pinned = await log.api.get("/v1/events")
    assert pinned.body == answer.body
    head = await log.api.call("HEAD", "/events")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["As-Of-Position"] == answer.headers["As-Of-Position"]


async def test_pages_follow_each_other_while_others_write(log: Log) -> None:
    other = await log.api.with_scopes("admin", tenant="other")
    writing = asyncio.gather(*(write(api, n) for n in range(WRITERS) for api in (log.api, other)))
    found = await read_all(log.api, until=writing.done)
    await writing
    positions = [each["position"] for each in found]
    assert positions == await log.positions()
    assert len(positions) == WRITERS * WRITES_EACH
    assert [each["position"] for each in await read_all(other)] == await log.positions("other")


async def write(api: Api, number: int) -> None:
    path = await api.create(f"jane.{number}@example.com")
    for tag in range(WRITES_EACH - 1):
        assert (await api.post(f"{path}/tag", {"tags": [f"tag {tag}"]})).status == 200


async def test_a_tenant_sees_only_its_own(log: Log) -> None:
    mine = await log.api.create()
    other = await log.api.with_scopes("admin", tenant="other")
    theirs = await other.create()
    for api, path in ((log.api, mine), (other, theirs)):
        assert [each["customerId"] for each in lines_of(await api.get("/events"))] == [
            path.rpartition("/")[2]
        ]
    nobody = await log.api.with_scopes("events:read", tenant="third")
    answer = await nobody.get("/events")
    assert (answer.status, answer.body, place_of(answer)) == (200, b"", 2)


async def test_the_place_moves_on_where_a_tenant_has_nothing(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries_feed, "SCANNED_POSITIONS_MAX", 4)
    path = await log.api.create()
    for number in range(9):
        await log.api.post(f"{path}/tag", {"tags": [f"tag {number}"]})
    other = await log.api.with_scopes("admin", tenant="other")
    await other.create()
    places: list[int] = []
    for after in (0, 4, 8, 11):
        answer = await other.get(f"/events?after={after}")
        places.append(place_of(answer))
    assert places == [4, 8, 11, 11]
    assert [each["position"] for each in await read_all(other)] == [11]


async def test_a_page_is_bounded_in_bytes(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries_feed, "PAGE_BYTES_MAX", 1_000)
    monkeypatch.setattr(queries_feed, "READ_EVENTS_MAX", 2)
    for number in range(10):
        await log.api.create(f"jane.{number}@example.com")
    answer = await log.api.get("/events")
    assert 0 < len(lines_of(answer)) < 10
    assert len(await read_all(log.api, "limit=1000")) == 10


async def test_large_events_come_a_few_at_a_time(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.event_log.TENANT_PAGE_BYTES_MAX", 2_000)
    large = {f"key {number}": "x" * 500 for number in range(5)}
    for number in range(5):
        await log.api.create(f"jane.{number}@example.com", metadata=large if number % 2 else {})
    lines = lines_of(await log.api.get("/events"))
    assert [each["position"] for each in lines] == [1, 2, 3, 4, 5]


async def test_only_the_types_that_were_asked_for(log: Log) -> None:
    path = await log.api.create()
    await log.api.post(f"{path}/tag", {"tags": ["vip"]})
    await log.api.put(path, {"active": False})
    customer_id = path.rpartition("/")[2]
    recorder = Recorder(log.postgres)
    assert await recorder.record([a_message("ord_1", 1, customer_id)]) == ["recorded"]

    async def types(query: str) -> list[object]:
        return [each["type"] for each in await read_all(log.api, f"limit=1&types={query}")]

    assert await types("customer.tagged.v1") == ["customer.tagged.v1"]
    assert await types("customer.order_recorded,customer.created.v1") == [
        "customer.created.v1",
        "customer.order_recorded.v1",
    ]
    assert await types("customer.deleted.v1") == []


@pytest.mark.parametrize(
    ("query", "pointer", "fault"),
    [("after=-1", "after", "not_an_integer"), (f"after={2**63}", "after", "out_of_range"),
     ("limit=0", "limit", "out_of_range"), ("limit=10001", "limit", "out_of_range"),
     ("limit=x", "limit", "not_an_integer"), ("types=", "types", "unknown_type"),
     ("types=customer.sold.v1", "types", "unknown_type"),
     ("limit=1&limit=2", "limit", "repeated_parameter"),
     ("types=customer.created.v2", "types", "unknown_type"),
     ("types=customer.created.v1,", "types", "unknown_type")],
)  # fmt: skip
async def test_values_that_cannot_be_used(
    shared_api: Api, query: str, pointer: str, fault: str
) -> None:
    answer = await shared_api.get(f"/events?{query}")
    assert (answer.status, answer.code) == (400, "invalid_parameter")
    assert answer.fault_codes == {pointer: fault}


async def test_who_may_not_read(shared_api: Api) -> None:
    unknown = await shared_api.get("/events?display=1")
    assert (unknown.status, unknown.code) == (400, "unknown_parameter")
    assert unknown.json["allowed"] == ["after", "limit", "types"]
    reader = await shared_api.with_scopes("customers:read", "customers:write", "customers:erase")
    refused = await reader.get("/events")
    assert (refused.status, refused.code) == (403, "insufficient_scope")
    assert refused.json["allowed"] == ["events:read"]
    assert (await shared_api.with_token(None).get("/events")).status == 401
    assert (await shared_api.call("POST", "/events", {})).status == 405
    other_log = await shared_api.get("/events", log_epoch="another")
    assert (other_log.status, other_log.code) == (412, "epoch_changed")


async def test_an_end_before_the_position_is_told(shared_api: Api) -> None:
    answer = await shared_api.get(f"/events?after={2**63 - 1}&limit=10000")
    assert (answer.status, answer.body, place_of(answer)) == (200, b"", 0)


async def test_a_deleted_customer_is_nobody(log: Log) -> None:
    path = await log.api.create("gone@example.com", firstName="Gone", tags=["vip"])
    await log.api.put(path, {"phone": "+1-555-0123"})
    assert (await log.api.delete(path)).status == 204
    answer = await log.api.get("/events")
    assert b"one" not in answer.body.replace(b"phone", b"")
    assert b"555" not in answer.body
    created, updated, deleted = lines_of(answer)
    assert (created["data"]["email"], created["data"]["tags"]) == ("", ["vip"])
    assert (created["forgotten"], updated["forgotten"]) == (True, True)
    assert (deleted["type"], deleted["data"]) == ("customer.deleted.v1", {})
    assert "forgotten" not in deleted


async def test_what_cannot_be_opened_is_shown_empty_and_stops_nobody(log: Log) -> None:
    path = await log.api.create()
    await log.api.create("john@example.com")
    await log.postgres.execute(
        "DELETE FROM vault.customer_key WHERE customer_id = $1", path.rpartition("/")[2]
    )
    damaged, whole = lines_of(await log.api.get("/events"))
    assert (damaged["damaged"], damaged["data"], damaged["version"]) == (True, {}, 1)
    assert whole["data"]["email"] == "john@example.com"


async def test_a_page_that_is_taken_too_slowly_is_cut_off(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its length is said, so a part of it never looks like a page."""
    monkeypatch.setattr(http_feed, "CHUNK_BYTES", 10)
    await log.api.create()
    whole = await log.api.get("/events")
    assert int(whole.headers["Content-Length"]) == len(whole.body)
    monkeypatch.setattr(http_feed, "PAGE_SECONDS_MAX", 0)
    with pytest.raises((aiohttp.ClientPayloadError, aiohttp.ClientConnectionError)):
        await log.api.get("/events")


async def test_more_pages_than_may_be_read_at_once_are_refused(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.http.slots.WAIT_SECONDS", 0.05)
    others = [await log.api.with_scopes("admin", tenant=name) for name in ("other", "third")]
    await log.api.create()

    async def is_refused(answers: Sequence[asyncio.Task[Answer]]) -> bool:
        done, _ = await asyncio.wait(answers, return_when=asyncio.FIRST_COMPLETED)
        return {(each.result().status, each.result().code) for each in done} == {
            (503, "overloaded")
        }

    def asking(api: Api, count: int) -> list[asyncio.Task[Answer]]:
        return [asyncio.create_task(api.get("/events")) for _ in range(count)]

    in_all, of_one = http_feed.PAGES_AT_ONCE_MAX, http_feed.PAGES_PER_TENANT_MAX
    async with log.postgres.transaction() as transaction:
        await transaction.execute("LOCK TABLE log.event IN ACCESS EXCLUSIVE MODE")
        answers = asking(log.api, of_one)
        assert await is_refused([*answers, *asking(log.api, 1)])
        answers += asking(others[0], in_all - of_one)  # which leave the last places for them
        assert await is_refused([*answers, *asking(others[1], 1)])
    assert {(await each).status for each in answers} <= {200, 503}
