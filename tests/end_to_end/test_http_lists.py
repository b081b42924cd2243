"""Lists over HTTP, through everything that lies between a write and a list of it: API, log, relay,
Kafka, projection, read model."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from projections.kafka_feed import KafkaSource
from service.event_log import EventLog
from service.events import OrderRecorded
from service.queries import Queries
from tests.servers.databases import Databases
from tests.servers.server import Handle
from tests.support import relays
from tests.support.api import Answer, Api, serving_api
from tests.support.histories import an_order
from tests.support.logs import a_change
from tests.support.projections import Projected, running
from tests.support.relays import World, a_world
from tests.support.topics import eventually
from tests.support.vaults import VAULT

CURSOR_KEY = b"a key of cursors, for tests"
LONG_NAMES = ("😀" * 255 + "a", "😀" * 255 + "b")
SPENT = {"jane": 45_600, "john": 900, "zoë": 45_600, "ann": 0}
PEOPLE: list[dict[str, Any]] = [
    {"email": "jane@example.com", "firstName": "Jane", "lastName": "Doe", "tags": ["referral"]},
    {"email": "john@example.com", "firstName": "John", "lastName": "Doe", "tags": ["VIP"]},
    {"email": "zoë@example.com", "firstName": "Zoë", "lastName": "Ångström", "tags": ["vip"]},
    {"email": "ann@example.com", "tags": ["early-adopter", "vip"], "active": False},
]


class Shop:
    """The whole path, with four customers who have ordered."""

    def __init__(self, api: Api, world: World) -> None:
        self.api = api
        self.world = world
        self.position = ""  # of the last write

    async def fill(self) -> None:
        for person in PEOPLE:
            created = await self.api.post("/user", person)
            assert created.status == 201
            spent = SPENT[person["email"].partition("@")[0]]
            if spent:
                await self._order(created.json["id"], spent)
        jane = (await self.api.get("/user?email=jane@example.com&minPosition=1")).json
        for path in [f"/user/{model['id']}/tag" for model in jane["models"]]:
            self.wrote(await self.api.post(path, {"tags": ["wholesale", "vip"]}))

    def wrote(self, answer: Answer) -> None:
        assert answer.status in (200, 201, 204)
        self.position = answer.headers["Log-Position"]

    async def _order(self, customer_id: str, total: int) -> None:
        order = OrderRecorded(order=an_order(f"ord_{customer_id}", 1, total=total))
        await self.world.appender.append(a_change(customer_id, 1, order))

    async def list(self, query: str = "") -> Answer:
        """As it is after the last write."""
        answer = await self.api.get(f"/user?{query}&minPosition={self.position}")
        assert answer.status == 200, answer.body
        assert int(answer.headers["As-Of-Position"]) >= int(self.position)
        return answer

    async def names(self, query: str = "") -> list[str]:
        """The first part of each address, in order."""
        models = (await self.list(query)).json["models"]
        return [model["email"].partition("@")[0] for model in models]


@pytest.fixture(scope="module")
async def shop(databases: Databases, kafka_server: Handle) -> AsyncIterator[Shop]:
    url = await databases.create()
    suffix = url.rpartition("/")[2].partition("?")[0]
    async with a_world(url, kafka_server, suffix) as world:
        log, projected = EventLog(world.postgres, VAULT), Projected(world.postgres, world.appender)
        source = KafkaSource(world.config, log, projected.checkpoints)
        queries = Queries(world.postgres, log, CURSOR_KEY, min_position_wait_seconds=20)
        async with (
            relays.running(world.relay()),
            running(projected.runner(source)),
            serving_api(world.postgres, queries) as api,
        ):
            await eventually(projected.is_up_to_date)
            made = Shop(api, world)
            await made.fill()
            yield made
    await databases.drop(url)


async def test_a_list_shows_what_was_written_before_it(shop: Shop) -> None:
    created = await shop.api.post("/user", {"email": "new@example.com", "firstName": "New"})
    shop.wrote(created)
    listed = (await shop.list("email=NEW@example.com")).json
    assert listed["count"] == 1
    assert listed["models"][0].items() <= created.json.items()
    changed = await shop.api.put(f"/user/{created.json['id']}", {"firstName": "Newer"})
    shop.wrote(changed)
    assert (await shop.list("email=new@example.com")).json["models"][0]["firstName"] == "Newer"
    shop.wrote(await shop.api.delete(f"/user/{created.json['id']}"))
    assert (await shop.list("email=new@example.com")).json["count"] == 0


async def test_the_documented_requests(shop: Shop) -> None:
    """As the reference and the client libraries send them."""
    for path in ("/user", "/v1/user"):
        query = "page=1&display=20&sort=createdAt:desc&tag=vip"
        answer = await shop.api.get(f"{path}?{query}&minPosition={shop.position}")
        assert answer.json["count"] == 4
        assert (answer.json["page"], answer.json["display"]) == (1, 20)
        emails = [model["email"] for model in answer.json["models"]]
        assert emails == [person["email"] for person in reversed(PEOPLE)]
    sdk = (await shop.list("tag=vip&sort=totalSpent:desc&display=50")).json["models"]
    assert [model["totalSpent"] for model in sdk] == [45_600, 45_600, 900, 0]
    assert [model["orderCount"] for model in sdk] == [1, 1, 1, 0]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("sort=createdAt:asc", ["jane", "john", "zoë", "ann"]),
        ("", ["ann", "zoë", "john", "jane"]),
        ("sort=firstName:asc", ["jane", "john", "zoë", "ann"]),
        ("sort=firstName:desc", ["zoë", "john", "jane", "ann"]),
        ("sort=lastName,firstName:desc", ["zoë", "john", "jane", "ann"]),
        ("sort=totalSpent:desc", ["zoë", "jane", "john", "ann"]),
        ("sort=totalSpent", ["ann", "john", "jane", "zoë"]),
        ("sort=orderCount:desc,email:asc", ["jane", "john", "zoë", "ann"]),
        ("sort=lastOrderAt:asc,email", ["jane", "john", "zoë", "ann"]),
        ("sort=email", ["ann", "jane", "john", "zoë"]),
        ("sort=email&q=DOE", ["jane", "john"]),
        ("sort=email&q=angstrom%20zo", ["zoë"]),
        ("sort=email&q=%25", []),
        ("sort=email&q=%CD%84", []),  # folds to nothing, which is in every text
        ("sort=email&q=example_com", []),
        ("sort=email&q=n", ["ann", "jane", "john", "zoë"]),
        ("sort=email&tag=VIP&tag=wholesale", ["jane"]),
        ("sort=email&tag=vip&active=true", ["jane", "john", "zoë"]),
        ("sort=email&active=false", ["ann"]),
        ("sort=email&minSpent=900&maxSpent=45600", ["jane", "john", "zoë"]),
        ("sort=email&minSpent=901", ["jane", "zoë"]),
        ("sort=email&maxOrders=0", ["ann"]),
        ("sort=email&minOrders=1&maxOrders=1", ["jane", "john", "zoë"]),
        ("sort=email&since=2000-01-01", ["ann", "jane", "john", "zoë"]),
        ("sort=email&since=2999-01-01T00:00:00%2B02:00", []),
        ("sort=email&until=2000-01-01", []),
        ("sort=email&since=9999-12-31T23:59:59.999Z", []),
        ("sort=email&until=0001-01-01", []),
        ("sort=email&since=0001-01-01&until=9999-12-31", ["ann", "jane", "john", "zoë"]),
        ("sort=email&since=9999-12-31&until=0001-01-01&minSpent=1", []),
        ("sort=email&updatedSince=2000-01-01", ["ann", "jane", "john", "zoë"]),
        ("sort=email&email=Zo%C3%AB@example.com", ["zoë"]),
        ("sort=email&display=3&page=2", ["zoë"]),
        ("sort=email&display=3&page=9007199254740991", []),
    ],
)
async def test_sorts_and_filters(shop: Shop, query: str, names: list[str]) -> None:
    assert await shop.names(query) == names


async def test_the_count_is_of_the_filter_on_every_page(shop: Shop) -> None:
    for page in (1, 2, 3, 4, 100):
        listed = (await shop.list(f"display=1&page={page}&tag=vip&active=true")).json
        assert (listed["count"], listed["page"], listed["display"]) == (3, page, 1)
        assert len(listed["models"]) == (page <= 3)
        assert (listed["nextCursor"] is None) is (page >= 3)


async def test_times_are_compared_as_they_are_shown(shop: Shop) -> None:
    every = (await shop.list("sort=createdAt:asc")).json["models"]
    second, third = every[1]["createdAt"], every[2]["createdAt"]
    assert await shop.names(f"sort=createdAt&since={second}") == ["zoë", "ann"]
    assert await shop.names(f"sort=createdAt&until={third}") == ["jane", "john"]
    assert await shop.names(f"sort=createdAt&since={second}&until={every[3]['createdAt']}") == [
        "zoë"
    ]


async def test_cursors_lead_from_the_first_to_the_last(shop: Shop) -> None:
    query = "sort=lastName:desc,totalSpent&display=1&tag=vip"
    met, page = await shop.names(query), (await shop.list(query)).json
    number = 1
    while page["nextCursor"] is not None:
        number += 1
        cursor = quote(page["nextCursor"])
        page = (await shop.list(f"{query}&cursor={cursor}")).json
        assert (page["page"], page["count"]) == (number, 4)
        met += [model["email"].partition("@")[0] for model in page["models"]]
    assert met == ["john", "jane", "zoë", "ann"]


async def test_the_longest_cursor_is_taken_back(shop: Shop) -> None:
    ids = []
    for number, name in enumerate(LONG_NAMES):
        person = {"email": f"long{number}@example.com", "firstName": name, "lastName": name}
        created = await shop.api.post("/user", person)
        shop.wrote(created)
        ids.append(created.json["id"])
    query = "q=long&sort=firstName,lastName,email&display=1"
    first = (await shop.list(query)).json
    second = (await shop.list(f"{query}&cursor={first['nextCursor']}")).json
    assert [*_ids(first), *_ids(second)] == ids
    assert second["nextCursor"] is None
    for customer_id in ids:
        shop.wrote(await shop.api.delete(f"/user/{customer_id}"))


def _ids(page: dict[str, Any]) -> list[str]:
    return [model["id"] for model in page["models"]]


async def test_a_cursor_is_bound_to_its_list(shop: Shop) -> None:
    cursor = (await shop.list("sort=email&display=1&tag=vip")).json["nextCursor"]
    stranger = await shop.api.with_scopes("customers:read", tenant="other")
    asked = [
        (shop.api, {"sort": "email:desc", "tag": "vip", "cursor": cursor}),
        (shop.api, {"sort": "email", "cursor": cursor}),
        (shop.api, {"cursor": cursor}),
        (shop.api, {"sort": "email", "tag": "vip", "cursor": cursor[:-1]}),
        (shop.api, {"sort": "email", "tag": "vip", "cursor": f"{cursor}A"}),
        (shop.api, {"sort": "email", "tag": "vip", "cursor": "nonsense"}),
        (stranger, {"sort": "email", "tag": "vip", "cursor": cursor}),
    ]
    for caller, query in asked:
        answer = await caller.get(f"/user?{urlencode(query)}")
        assert (answer.status, answer.code) == (400, "invalid_cursor"), query


@pytest.mark.parametrize(
    ("query", "code", "faults"),
    [
        ("page=0", "invalid_parameter", {"page": "out_of_range"}),
        ("display=101", "invalid_parameter", {"display": "out_of_range"}),
        ("sort=age:asc", "invalid_parameter", {"sort": "unknown_sort"}),
        ("since=yesterday", "invalid_parameter", {"since": "invalid_time"}),
        ("cursor=abc&page=1", "invalid_parameter", {"page": "cursor_excludes_page"}),
        ("foo=1", "unknown_parameter", {"foo": "unknown_parameter"}),
        ("cursor=abc", "invalid_cursor", {"cursor": "invalid_cursor"}),
    ],
)
async def test_bad_queries(shop: Shop, query: str, code: str, faults: dict[str, str]) -> None:
    answer = await shop.api.get(f"/user?{query}")
    assert (answer.status, answer.code, answer.fault_codes) == (400, code, faults)
    assert answer.headers["Content-Type"].startswith("application/problem+json")


async def test_another_tenant_sees_none_of_it(shop: Shop) -> None:
    other = await shop.api.with_scopes("customers:read", tenant="other")
    answer = await other.get(f"/user?minPosition={shop.position}")
    assert (answer.json["count"], answer.json["models"]) == (0, [])


async def test_a_position_that_is_never_shown_is_projection_lag(shop: Shop) -> None:
    queries = Queries(
        shop.world.postgres,
        EventLog(shop.world.postgres, VAULT),
        CURSOR_KEY,
        min_position_wait_seconds=0.1,
    )
    async with serving_api(shop.world.postgres, queries) as api:
        answer = await api.get(f"/user?minPosition={int(shop.position) + 1_000}")
    assert (answer.status, answer.code) == (503, "projection_lag")
    assert int(answer.headers["Retry-After"]) >= 1
