"""An e-mail address belongs to one living customer of a tenant."""

import asyncio
from collections import Counter

from tests.support.api import Api


async def test_of_fifty_at_once_one_gets_the_address(api: Api) -> None:
    spellings = ["jane@example.com", "Jane@Example.com", " JANE@EXAMPLE.COM "]
    answers = await asyncio.gather(
        *(api.post("/user", {"email": spellings[number % 3]}) for number in range(50))
    )
    assert Counter(answer.status for answer in answers) == {201: 1, 409: 49}
    assert {answer.code for answer in answers} == {None, "email_taken"}


async def test_a_changed_address_is_free_again(api: Api) -> None:
    path = await api.create("jane@example.com")
    await api.put(path, {"email": "janet@example.com"})
    assert (await api.post("/user", {"email": "jane@example.com"})).status == 201
    taken = await api.put(path, {"email": "jane@example.com"})
    assert (taken.status, taken.code) == (409, "email_taken")


async def test_a_deleted_customers_address_is_free_again(api: Api) -> None:
    path = await api.create("jane@example.com", firstName="Jane")
    await api.delete(path)
    again = await api.post("/user", {"email": "jane@example.com"})
    assert again.status == 201
    assert again.headers["Location"] != path
    assert (again.json["firstName"], again.json["version"]) == (None, 1)


async def test_tenants_have_addresses_of_their_own(api: Api) -> None:
    await api.create("jane@example.com")
    other = await api.with_scopes("customers:write", tenant="other")
    assert (await other.post("/user", {"email": "jane@example.com"})).status == 201
