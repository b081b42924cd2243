"""Tags are a set by case-insensitive comparison, in the spelling that came first."""

import pytest

from tests.support.api import Api


async def test_adding_is_a_union(api: Api) -> None:
    path = await api.create(tags=["VIP"])
    answer = await api.post(f"{path}/tag", {"tags": ["vip", " New ", "new"]})
    assert (answer.status, answer.json["tags"]) == (200, ["VIP", "New"])
    same = await api.post(f"{path}/tag", {"tags": ["NEW"]})
    assert (same.status, same.headers["ETag"]) == (200, answer.headers["ETag"])


@pytest.mark.parametrize(
    ("tag", "in_path"),
    [
        ("VIP", "vip"),
        ("a/b", "a%2Fb"),
        ("größe", "GR%C3%B6SSE"),
        ("a b", "%20a%20b"),
        ("100%", "100%25"),
    ],
)
async def test_removing_by_any_spelling(api: Api, tag: str, in_path: str) -> None:
    path = await api.create(tags=[tag, "other"])
    answer = await api.delete(f"{path}/tag/{in_path}")
    assert (answer.status, answer.json["tags"]) == (200, ["other"])


@pytest.mark.parametrize("in_path", ["none", "%00", "%ED%A0%80", "%FF", "x" * 4000])
async def test_removing_what_is_not_there_changes_nothing(api: Api, in_path: str) -> None:
    path = await api.create(tags=["vip"])
    answer = await api.delete(f"{path}/tag/{in_path}", idempotency_key="k")
    assert (answer.status, answer.json["tags"], answer.headers["ETag"]) == (200, ["vip"], '"1"')


@pytest.mark.parametrize(
    ("tag", "code"),
    [("", "blank"), ("  ", "blank"), ("a,b", "invalid_characters"), ("a\nb", "invalid_characters"),
     ("a\x00", "invalid_characters"), ("x" * 256, "too_long"), (7, "invalid_type"),
     (None, "null_not_allowed")],
)  # fmt: skip
async def test_what_is_no_tag(api: Api, tag: object, code: str) -> None:
    path = await api.create()
    answer = await api.post(f"{path}/tag", {"tags": ["good", tag]})
    assert (answer.status, answer.fault_codes) == (422, {"/tags/1": code})
    created = await api.post("/user", {"email": "b@example.com", "tags": [tag]})
    assert created.fault_codes == {"/tags/0": code}


async def test_two_hundred_and_fifty_and_no_more(api: Api) -> None:
    path = await api.create(tags=[f"tag {number}" for number in range(250)])
    answer = await api.post(f"{path}/tag", {"tags": ["one more"]})
    assert (answer.status, answer.fault_codes) == (422, {"/tags": "too_many"})
    assert (await api.post(f"{path}/tag", {"tags": ["TAG 7"]})).status == 200


async def test_tags_have_to_be_given(api: Api) -> None:
    path = await api.create()
    assert (await api.post(f"{path}/tag", {})).fault_codes == {"/tags": "required"}
    assert (await api.post(f"{path}/tag", {"tags": "vip"})).fault_codes == {"/tags": "invalid_type"}
    assert (await api.post(f"{path}/tag", {"tags": []})).status == 200
