"""Who may call, what their token lets them do, and whose customers they see."""

import asyncio
import re
from collections import Counter

import pytest

from service.http.rate_limit import RateLimit
from tests.support.api import Api, running_api

LEFT = re.compile(r'"default";r=[0-9]+;t=1')
ADDRESS = {"line1": "1 Rd", "city": "Bonn", "country": "DE"}


async def test_without_a_token(shared_api: Api) -> None:
    answer = await shared_api.with_token(None).get("/user")
    assert (answer.status, answer.code) == (401, "missing_token")
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="customers"'


@pytest.mark.parametrize("given", ["Bearer", "Bearer ", "Basic abc", "Bearer a b", "abc", ""])
async def test_what_is_no_bearer_token(shared_api: Api, given: str) -> None:
    answer = await shared_api.call("GET", "/user", headers={"Authorization": given})
    assert (answer.status, answer.code) == (401, "missing_token")


@pytest.mark.parametrize("token", ["nonsense", "ctk_" + "A" * 52, "x" * 5000, "a.b.c"])
async def test_a_token_nobody_made(shared_api: Api, token: str) -> None:
    answer = await shared_api.with_token(token).get("/user")
    assert (answer.status, answer.code) == (401, "invalid_token")
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
    assert token not in answer.body.decode()


async def test_the_word_bearer_in_any_case(shared_api: Api) -> None:
    answer = await shared_api.call(
        "GET", "/user", headers={"Authorization": f"bEARER  {shared_api.token}"}
    )
    assert answer.status == 200


async def test_each_route_asks_for_its_scope(api: Api) -> None:
    path = await api.create()
    place = (await api.post(f"{path}/address", ADDRESS)).headers["Location"]
    routes = {
        "customers:read": [("GET", "/user", None), ("GET", path, None)],
        "customers:write": [
            ("POST", "/user", {"email": "new@example.com"}), ("PUT", path, {}), ("PATCH", path, {}),
            ("POST", f"{path}/address", ADDRESS), ("PUT", place, {}), ("DELETE", place, None),
            ("POST", f"{path}/tag", {"tags": ["a"]}), ("DELETE", f"{path}/tag/a", None),
        ],
        "customers:erase": [("DELETE", path, None)],
    }  # fmt: skip
    for scope, calls in routes.items():
        others = await api.with_scopes(*(routes.keys() - {scope}), "events:read")
        holder = await api.with_scopes(scope)
        for method, target, body in calls:
            refused = await others.call(method, target, body)
            assert (refused.status, refused.code) == (403, "insufficient_scope")
            assert refused.json["allowed"] == [scope]
            assert (await holder.call(method, target, body)).status < 300


async def test_admin_may_do_everything_in_its_tenant(api: Api) -> None:
    admin = await api.with_scopes("admin")
    path = await admin.create()
    assert (await admin.get(path)).status == 200
    assert (await admin.delete(path)).status == 204


async def test_tenants_see_nothing_of_each_other(api: Api) -> None:
    path = await api.create()
    place = (await api.post(f"{path}/address", ADDRESS)).headers["Location"]
    other = await api.with_scopes("admin", tenant="other")
    for method, target, body in [
        ("GET", path, None), ("PUT", path, {"firstName": "x"}), ("PATCH", path, {}),
        ("DELETE", path, None), ("POST", f"{path}/address", ADDRESS), ("PUT", place, {}),
        ("DELETE", place, None), ("POST", f"{path}/tag", {"tags": ["a"]}),
        ("DELETE", f"{path}/tag/a", None),
    ]:  # fmt: skip
        answer = await other.call(method, target, body, headers={"If-Match": "*"})
        assert (answer.status, answer.code) == (404, "customer_not_found")
    assert (await other.get("/user")).json["count"] == 0
    assert (await api.get(path)).headers["ETag"] == '"2"'


async def test_a_deleted_customer_is_gone_on_every_route(api: Api) -> None:
    path = await api.create()
    place = (await api.post(f"{path}/address", ADDRESS)).headers["Location"]
    await api.delete(path)
    for method, target, body in [
        ("GET", path, None), ("PUT", path, {}), ("PATCH", path, {}), ("DELETE", path, None),
        ("POST", f"{path}/address", ADDRESS), ("PUT", place, {}), ("DELETE", place, None),
        ("POST", f"{path}/tag", {"tags": ["a"]}), ("DELETE", f"{path}/tag/a", None),
    ]:  # fmt: skip
        answer = await api.call(method, target, body)
        assert (answer.status, answer.code) == (404, "customer_deleted")
    assert (await api.get("/user")).json["count"] == 0


async def test_a_caller_in_a_hurry_is_told_when_to_come_back(database: str) -> None:
    async with running_api(database, rate_limit=RateLimit(3)) as api:
        answers = await asyncio.gather(*(api.get("/user") for _ in range(10)))
        assert Counter(answer.status for answer in answers)[200] in {3, 4}
        refused = next(answer for answer in answers if answer.status == 429)
        assert refused.code == "rate_limited"
        assert int(refused.headers["Retry-After"]) >= 1
        other = await api.with_scopes("customers:read")
        assert (await other.get("/user")).status == 200
        assert (await api.get("/livez")).status == 200


async def test_every_answer_to_a_known_token_says_what_is_left(database: str) -> None:
    async with running_api(database, rate_limit=RateLimit(1_000)) as api:
        path = await api.create()
        reader = await api.with_scopes("customers:read")
        answers = [
            await api.get("/user"),
            await api.get(path),
            await api.get(path, if_none_match="*"),
            await api.call("HEAD", path),
            await api.get(f"{path}/export"),
            await api.get("/user?page=0"),
            await api.get("/user/cust_none"),
            await api.put(path, {"email": 1}),
            await reader.put(path, {}),
            await api.delete(path),
        ]
        statuses = [200, 200, 304, 200, 200, 400, 404, 422, 403, 204]
        assert [answer.status for answer in answers] == statuses
        for answer in answers:
            assert answer.headers["RateLimit-Policy"] == '"default";q=1000;w=1'
            assert LEFT.fullmatch(answer.headers["RateLimit"])
        for unknown in (await api.with_token("x").get("/user"), await api.get("/livez")):
            assert "RateLimit" not in unknown.headers


async def test_a_refused_caller_is_told_that_nothing_is_left(database: str) -> None:
    async with running_api(database, rate_limit=RateLimit(1)) as api:
        nobody = await api.with_scopes("events:read")
        assert (await nobody.get("/user")).status == 403
        refused = await nobody.get("/user")
        assert (refused.status, refused.code) == (429, "rate_limited")
        assert refused.headers["Content-Type"] == "application/problem+json"
        assert refused.headers["RateLimit"] == '"default";r=0;t=1'
        assert refused.headers["Retry-After"] == "1"


async def test_without_a_limit_nothing_is_said_of_one(shared_api: Api) -> None:
    assert not {"RateLimit", "RateLimit-Policy"} & {*(await shared_api.get("/user")).headers}
