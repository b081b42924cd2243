"""Addresses: exactly one default, opaque ids, merge patch."""

import pytest

from tests.support.api import Api

ADDRESS = {"line1": "1 High St", "city": "Leeds", "country": "GB"}


async def defaults(api: Api, path: str) -> list[bool]:
    return [address["isDefault"] for address in (await api.get(path)).json["addresses"]]


async def test_the_first_is_the_default_until_another_asks(api: Api) -> None:
    path = await api.create()
    await api.post(f"{path}/address", ADDRESS)
    second = await api.post(f"{path}/address", ADDRESS)
    assert second.json["isDefault"] is False
    assert await defaults(api, path) == [True, False]
    third = await api.post(f"{path}/address", {**ADDRESS, "isDefault": True})
    assert third.json["isDefault"] is True
    assert await defaults(api, path) == [False, False, True]
    moved = await api.put(second.headers["Location"], {"isDefault": True})
    assert moved.json["isDefault"] is True
    assert await defaults(api, path) == [False, True, False]


async def test_the_oldest_left_follows_a_removed_default(api: Api) -> None:
    path = await api.create()
    places = [(await api.post(f"{path}/address", ADDRESS)).headers["Location"] for _ in range(3)]
    await api.put(places[2], {"isDefault": True})
    assert (await api.delete(places[2])).status == 204
    assert await defaults(api, path) == [True, False]


async def test_the_default_cannot_be_put_down(api: Api) -> None:
    path = await api.create()
    place = (await api.post(f"{path}/address", ADDRESS)).headers["Location"]
    answer = await api.put(place, {"isDefault": False})
    assert (answer.status, answer.fault_codes) == (422, {"/isDefault": "default_required"})


async def test_an_update_is_a_merge_patch(api: Api) -> None:
    path = await api.create()
    added = await api.post(f"{path}/address", {**ADDRESS, "label": "Home", "state": "Yorks"})
    place = added.headers["Location"]
    answer = await api.put(place, {"label": None, "state": "", "city": " York ", "country": "ie"})
    assert answer.status == 200
    assert answer.json == {
        **added.json, "label": None, "state": None, "city": "York", "country": "IE"
    }  # fmt: skip
    assert (await api.put(place, answer.json)).headers["ETag"] == answer.headers["ETag"]
    for field in ("line1", "city", "country"):
        assert (await api.put(place, {field: None})).fault_codes == {
            f"/{field}": "null_not_allowed"
        }


async def test_a_new_customer_may_bring_addresses(api: Api) -> None:
    path = await api.create(addresses=[ADDRESS, {**ADDRESS, "isDefault": True, "id": "mine"}])
    addresses = (await api.get(path)).json["addresses"]
    assert [address["isDefault"] for address in addresses] == [False, True]
    assert all(address["id"].startswith("addr_") for address in addresses)


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_an_unknown_address_is_not_found(api: Api, method: str) -> None:
    path, other = await api.create("a@example.com"), await api.create("b@example.com")
    place = (await api.post(f"{other}/address", ADDRESS)).headers["Location"]
    foreign = place.replace(other, path)
    body = {"label": "x"} if method == "PUT" else None
    for unknown in (
        foreign,
        f"{path}/address/addr_none",
        f"{path}/address/%00",
        f"{path}/address/%2F",
    ):
        answer = await api.call(method, unknown, body)
        assert (answer.status, answer.code) == (404, "address_not_found")


async def test_a_hundred_addresses_and_no_more(api: Api) -> None:
    path = await api.create(addresses=[ADDRESS] * 100)
    answer = await api.post(f"{path}/address", ADDRESS)
    assert (answer.status, answer.fault_codes) == (422, {"/addresses": "too_many"})
    many = await api.post("/user", {"email": "b@example.com", "addresses": [ADDRESS] * 101})
    assert many.fault_codes == {"/addresses": "too_many"}


async def test_what_an_address_needs(api: Api) -> None:
    path = await api.create()
    answer = await api.post(f"{path}/address", {"line1": " ", "country": "XX", "line2": "x"})
    assert answer.fault_codes == {
        "/line1": "blank", "/city": "required", "/country": "unknown_country",
        "/line2": "unknown_field",
    }  # fmt: skip
