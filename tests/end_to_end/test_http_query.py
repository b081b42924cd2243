"""Query parameters: checked one by one, refused all at once."""

import pytest

from tests.support.api import Api

LIST_PARAMETERS = [
    "active", "cursor", "display", "email", "maxOrders", "maxSpent", "minOrders", "minPosition",
    "minSpent", "page", "q", "since", "sort", "tag", "until", "updatedSince",
]  # fmt: skip


@pytest.mark.parametrize(
    ("query", "faults"),
    [
        ("page=0", {"page": "out_of_range"}),
        ("page=-1", {"page": "not_an_integer"}),
        ("page=%2B1", {"page": "not_an_integer"}),
        ("page=1_0", {"page": "not_an_integer"}),
        ("page=%201", {"page": "not_an_integer"}),
        ("page=1.0", {"page": "not_an_integer"}),
        ("page=1e3", {"page": "not_an_integer"}),
        ("page=%D9%A1", {"page": "not_an_integer"}),
        ("page=", {"page": "not_an_integer"}),
        ("page=99999999999999999999", {"page": "out_of_range"}),
        ("page=" + "9" * 5000, {"page": "not_an_integer"}),
        ("display=0", {"display": "out_of_range"}),
        ("display=101", {"display": "out_of_range"}),
        ("display=20&display=20", {"display": "repeated_parameter"}),
        ("sort=", {"sort": "unknown_sort"}),
        ("sort=foo:asc", {"sort": "unknown_sort"}),
        ("sort=createdAt:up", {"sort": "unknown_sort"}),
        ("sort=createdAt:", {"sort": "unknown_sort"}),
        ("sort=createdAt:desc,", {"sort": "unknown_sort"}),
        ("sort=createdat:desc", {"sort": "unknown_sort"}),
        ("sort=email:asc,email:desc", {"sort": "repeated_sort_field"}),
        ("q=" + "x" * 201, {"q": "too_long"}),
        ("q=a%00b", {"q": "invalid_characters"}),
        ("tag=", {"tag": "blank"}),
        ("&".join(["tag=x"] * 21), {"tag": "too_many"}),
        ("since=yesterday", {"since": "invalid_time"}),
        ("since=2024-13-01", {"since": "invalid_time"}),
        ("since=2024-02-30", {"since": "invalid_time"}),
        ("since=0000-01-01", {"since": "invalid_time"}),
        ("since=10000-01-01", {"since": "invalid_time"}),
        ("since=0001-01-01T00:00:00%2B14:00", {"since": "invalid_time"}),
        ("since=9999-12-31T23:59:59-14:00", {"since": "invalid_time"}),
        ("since=2024-03-10T08:00:00", {"since": "invalid_time"}),
        ("since=1710057600", {"since": "invalid_time"}),
        ("since=2024-W10-7", {"since": "invalid_time"}),
        ("until=", {"until": "invalid_time"}),
        ("updatedSince=x", {"updatedSince": "invalid_time"}),
        ("active=yes", {"active": "not_a_boolean"}),
        ("active=TRUE", {"active": "not_a_boolean"}),
        ("minSpent=-1", {"minSpent": "not_an_integer"}),
        ("maxOrders=9223372036854775808", {"maxOrders": "out_of_range"}),
        ("minPosition=x", {"minPosition": "not_an_integer"}),
        ("cursor=abc&page=1", {"page": "cursor_excludes_page"}),
        ("page=x&display=y&sort=z",
         {"page": "not_an_integer", "display": "not_an_integer", "sort": "unknown_sort"}),
    ],
)  # fmt: skip
async def test_values_that_cannot_be_used(
    shared_api: Api, query: str, faults: dict[str, str]
) -> None:
    answer = await shared_api.get(f"/user?{query}")
    assert (answer.status, answer.code) == (400, "invalid_parameter")
    assert answer.fault_codes == faults


async def test_a_name_that_may_be_somebodys_is_not_told(shared_api: Api) -> None:
    answer = await shared_api.get("/user?jane@example.com=1&jane@example.com=2")
    assert (answer.status, answer.code) == (400, "unknown_parameter")
    assert b"jane" not in answer.body


@pytest.mark.parametrize(
    "query",
    ["page=9007199254740991", "display=100&page=9007199254740991", "sort=totalSpent:desc,email",
     "q=", "q=%25_%27", "tag=a&tag=B", "since=2024-03-10", "since=2024-03-10T08:00:00Z",
     "since=2024-03-10T08:00:00+02:00", "since=2024-03-10T08:00:00%2B02:00", "active=true",
     "since=2024-03-10t08:00:00.123456789z", "since=2024-03-10T08:00-05:00",
     "email=Jane@Example.com",
     "email=nobody", "minSpent=0&maxSpent=9223372036854775807", "minOrders=1&maxOrders=0",
     "minPosition=0", "&&", ""],
)  # fmt: skip
async def test_values_that_can_be_used(shared_api: Api, query: str) -> None:
    answer = await shared_api.get(f"/user?{query}")
    assert (answer.status, answer.json["models"]) == (200, [])


@pytest.mark.parametrize("query", ["foo=1", "Page=1", "page[]=1", "=1", "at=2024-01-01"])
async def test_unknown_parameters_of_the_list(shared_api: Api, query: str) -> None:
    answer = await shared_api.get(f"/user?page=x&{query}")
    assert (answer.status, answer.code) == (400, "unknown_parameter")
    assert answer.json["allowed"] == LIST_PARAMETERS
    assert answer.fault_codes[query.partition("=")[0]] == "unknown_parameter"
    assert answer.fault_codes["page"] == "not_an_integer"


async def test_a_parameter_that_looks_like_an_address_is_not_repeated(shared_api: Api) -> None:
    answer = await shared_api.get("/user?jane%40example.com=1")
    assert (answer.status, answer.fault_codes) == (400, {"…": "unknown_parameter"})
    assert b"jane" not in answer.body


@pytest.mark.parametrize(("method", "below"), [("GET", "/export"), ("PUT", ""), ("DELETE", "")])
async def test_routes_without_parameters(api: Api, method: str, below: str) -> None:
    path = await api.create()
    body = {} if method == "PUT" else None
    answer = await api.call(method, f"{path}{below}?page=1", body)
    assert (answer.status, answer.code) == (400, "unknown_parameter")
    assert answer.json["allowed"] == []


@pytest.mark.parametrize("query", ["q=%FF", "%FF=1", "q=%ED%A0%80", "&".join(["tag=x"] * 101)])
async def test_strings_that_are_no_query(shared_api: Api, query: str) -> None:
    answer = await shared_api.get(f"/user?{query}")
    assert (answer.status, answer.code) == (400, "invalid_parameter")


@pytest.mark.parametrize("cursor", ["", "x" * 2001, "%00", "%C3%A9", "a%20b%0A"])
async def test_what_can_be_no_cursor(shared_api: Api, cursor: str) -> None:
    answer = await shared_api.get(f"/user?cursor={cursor}")
    assert (answer.status, answer.code) == (400, "invalid_cursor")


async def test_no_value_comes_back(shared_api: Api) -> None:
    answer = await shared_api.get("/user?email=x&page=jane@example.com&tag=&sort=jane@example.com")
    assert b"jane" not in answer.body
