"""A customer as it was, by version and by time."""

from __future__ import annotations

import pytest

from tests.support.api import Api


async def test_every_version_is_shown_as_it_was_answered(api: Api) -> None:
    path = await api.create(firstName="Jane", tags=["vip"])
    answers = [await api.get(path)]
    for body in ({"firstName": "Janet"}, {"tags": ["new"]}, {"active": False}):
        await api.put(path, body)
        answers.append(await api.get(path))
    for answer in answers:
        tag = answer.headers["ETag"]
        version = tag.strip('"')
        then = await api.get(f"{path}?version={version}")
        assert (then.status, then.json, then.headers["ETag"]) == (200, answer.json, tag)
        same = await api.get(f"{path}?version={version}", if_none_match=tag)
        assert (same.status, same.body) == (304, b"")
    last = answers[-1].json
    assert (await api.get(f"{path}?at={last['updatedAt']}")).json == last
    assert (await api.get(f"{path}?at=2000-01-01")).code == "customer_not_found"
    assert (await api.get(f"{path}?version=99")).code == "customer_not_found"


async def test_who_is_not_there_was_not_there(api: Api) -> None:
    path = await api.create()
    other = await api.with_scopes("customers:read", tenant="other")
    assert (await other.get(f"{path}?version=1")).code == "customer_not_found"
    writer = await api.with_scopes("customers:write")
    assert (await writer.get(f"{path}?version=1")).code == "insufficient_scope"
    assert (await api.delete(path)).status == 204
    assert (await api.get(f"{path}?version=1")).code == "customer_deleted"


@pytest.mark.parametrize(
    ("query", "code"),
    [("version=0", "invalid_parameter"), ("version=x", "invalid_parameter"),
     ("at=yesterday", "invalid_parameter"), ("at=2024-01-01&version=1", "invalid_parameter"),
     ("page=1", "unknown_parameter")],
)  # fmt: skip
async def test_values_that_cannot_be_used(shared_api: Api, query: str, code: str) -> None:
    answer = await shared_api.get(f"/user/cust_1?{query}")
    assert (answer.status, answer.code) == (400, code)
