"""Idempotency-Key: a repeat is answered as the first time, and done only once."""

import asyncio

import pytest

from tests.support.api import Answer, Api

ADDRESS = {"line1": "1 Rd", "city": "Bonn", "country": "DE"}


def replayed(answer: Answer) -> bool:
    return answer.headers.get("Idempotent-Replayed") == "true"


async def test_a_repeated_creation_answers_the_same_customer(api: Api) -> None:
    first = await api.post("/user", {"email": "jane@example.com"}, idempotency_key="k-1")
    again = await api.post("/user", {"email": "jane@example.com"}, idempotency_key="k-1")
    assert (first.status, replayed(first)) == (201, False)
    assert (again.status, replayed(again)) == (201, True)
    assert again.body == first.body
    for header in ("Location", "ETag", "Log-Position", "Log-Epoch"):
        assert again.headers[header] == first.headers[header]


async def test_a_repeat_answers_what_was_true_then(api: Api) -> None:
    path = await api.create()
    first = await api.put(path, {"firstName": "Jane"}, idempotency_key="k-1")
    await api.put(path, {"firstName": "Janet"})
    again = await api.put(path, {"firstName": "Jane"}, idempotency_key="k-1")
    assert (again.status, again.body, replayed(again)) == (200, first.body, True)
    assert (await api.get(path)).json["firstName"] == "Janet"


async def test_every_kind_of_write_can_be_repeated(api: Api) -> None:
    path = await api.create()
    place = (await api.post(f"{path}/address", ADDRESS)).headers["Location"]
    for number, (method, target, body) in enumerate([
        ("POST", f"{path}/address", ADDRESS),
        ("PUT", place, {"label": "Home"}),
        ("DELETE", place, None),
        ("POST", f"{path}/tag", {"tags": ["vip"]}),
        ("DELETE", f"{path}/tag/vip", None),
        ("PATCH", path, {"lastName": "Doe"}),
        ("PUT", path, {"lastName": "Doe"}),
        ("DELETE", path, None),
    ]):  # fmt: skip
        key = {"Idempotency-Key": f"key {number}"}
        first = await api.call(method, target, body, headers=key)
        again = await api.call(method, target, body, headers=key)
        assert first.status < 300
        assert (again.status, again.body) == (first.status, first.body)
        assert again.headers["ETag"] == first.headers["ETag"]
        assert again.headers["Log-Position"] == first.headers["Log-Position"]
        assert (replayed(first), replayed(again)) == (False, True)


async def test_the_key_is_the_same_bare_or_quoted_and_under_v1(api: Api) -> None:
    first = await api.post("/user", {"email": "jane@example.com"}, idempotency_key="k 1")
    again = await api.post("/v1/user", {"email": "jane@example.com"}, idempotency_key='"k 1"')
    assert (again.status, replayed(again)) == (201, True)
    assert again.body == first.body


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/user", {"email": "other@example.com"}),
        ("PUT", "{path}", {"email": "jane@example.com"}),
        ("DELETE", "{path}", None),
    ],
)
async def test_a_key_belongs_to_one_request(api: Api, method: str, path: str, body: object) -> None:
    first = await api.post("/user", {"email": "jane@example.com"}, idempotency_key="k-1")
    target = path.format(path=first.headers["Location"])
    answer = await api.call(method, target, body, headers={"Idempotency-Key": "k-1"})
    assert (answer.status, answer.code) == (422, "idempotency_key_reused")
    assert (await api.get(first.headers["Location"])).json["version"] == 1


async def test_a_refusal_does_not_use_up_its_key(api: Api) -> None:
    path = await api.create("jane@example.com")
    wanted = {"email": "jane@example.com"}
    assert (await api.post("/user", wanted, idempotency_key="k-1")).code == "email_taken"
    await api.delete(path)
    assert (await api.post("/user", wanted, idempotency_key="k-1")).status == 201


async def test_keys_of_tenants_are_apart(api: Api) -> None:
    other = await api.with_scopes("customers:write", tenant="other")
    body = {"email": "jane@example.com"}
    first = await api.post("/user", body, idempotency_key="k-1")
    second = await other.post("/user", body, idempotency_key="k-1")
    assert (second.status, replayed(second)) == (201, False)
    assert second.json["id"] != first.json["id"]


async def test_after_deletion_a_key_tells_nothing_of_the_person(api: Api) -> None:
    created = await api.post("/user", {"email": "jane@example.com"}, idempotency_key="k-1")
    path = created.headers["Location"]
    await api.delete(path, idempotency_key="k-2")
    again = await api.post("/user", {"email": "jane@example.com"}, idempotency_key="k-1")
    assert (again.status, again.code) == (404, "customer_deleted")
    assert (await api.delete(path, idempotency_key="k-2")).status == 204
    assert (await api.delete(path)).code == "customer_deleted"


async def test_at_once_the_work_is_done_once(api: Api) -> None:
    body = {"email": "jane@example.com"}
    answers = await asyncio.gather(
        *(api.post("/user", body, idempotency_key="k-1") for _ in range(20))
    )
    assert {answer.status for answer in answers} <= {201, 409}
    created = [answer for answer in answers if answer.status == 201]
    assert len({answer.body for answer in created}) == 1
    assert sum(not replayed(answer) for answer in created) == 1
    for answer in answers:
        if answer.status == 409:
            assert answer.code == "idempotency_in_flight"
            assert int(answer.headers["Retry-After"]) >= 1
    assert (await api.get("/user")).json["count"] == 1


@pytest.mark.parametrize("key", ["", '""', "x" * 256, "schlüssel", "a\tb", '"open'])
async def test_what_is_no_key_is_refused(api: Api, key: str) -> None:
    answer = await api.post("/user", {"email": "jane@example.com"}, idempotency_key=key)
    assert (answer.status, answer.code) == (400, "invalid_idempotency_key")


async def test_the_longest_key(api: Api) -> None:
    answer = await api.post("/user", {"email": "jane@example.com"}, idempotency_key="~" * 255)
    assert answer.status == 201
