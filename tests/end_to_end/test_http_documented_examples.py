"""The published reference, request by request, as its readers would send it."""

import pytest

from tests.support.api import Api

NEW_CUSTOMER = {
    "email": "jane@example.com",
    "firstName": "Jane",
    "lastName": "Doe",
    "phone": "+1-555-0123",
    "tags": ["referral"],
    "metadata": {"source": "partner-campaign"},
}
OFFICE = {
    "label": "Office",
    "line1": "789 Business Blvd",
    "city": "San Francisco",
    "state": "CA",
    "postalCode": "94102",
    "country": "US",
}
DOCUMENTED_FIELDS = {
    "id", "email", "firstName", "lastName", "phone", "metadata", "addresses", "orderCount",
    "totalSpent", "tags", "createdAt", "updatedAt",
}  # fmt: skip
DOCUMENTED_LIST_FIELDS = {
    "id", "email", "firstName", "lastName", "orderCount", "totalSpent", "createdAt"
}  # fmt: skip


@pytest.fixture(params=["/user", "/v1/user"])
def user(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_create_customer(api: Api, user: str) -> None:
    answer = await api.post(user, NEW_CUSTOMER)
    assert answer.status == 201
    assert NEW_CUSTOMER.items() <= answer.json.items()
    assert answer.json["id"].startswith("cust_")
    assert answer.json["createdAt"].endswith("Z")
    assert answer.headers["Location"] == f"{user}/{answer.json['id']}"


async def test_get_customer(api: Api, user: str) -> None:
    created = await api.post(user, NEW_CUSTOMER)
    answer = await api.get(f"{user}/{created.json['id']}")
    assert answer.status == 200
    assert answer.json == created.json
    assert answer.json.keys() >= DOCUMENTED_FIELDS
    assert (answer.json["orderCount"], answer.json["totalSpent"]) == (0, 0)
    assert answer.json["addresses"] == []


async def test_list_customers(api: Api, user: str) -> None:
    await api.create("jane@example.com", firstName="Jane", tags=["vip"])
    await api.create("john@example.com")
    answer = await api.get(f"{user}?display=20&sort=createdAt:desc&tag=vip")
    assert answer.status == 200
    assert answer.json["count"] == 1
    [model] = answer.json["models"]
    assert model.keys() >= DOCUMENTED_LIST_FIELDS
    assert (model["email"], model["firstName"]) == ("jane@example.com", "Jane")


async def test_update_customer(api: Api, user: str) -> None:
    created = (await api.post(user, NEW_CUSTOMER)).json
    change = {
        "firstName": "Janet",
        "tags": ["vip", "referral"],
        "metadata": {"segment": "vip", "source": "partner-campaign"},
    }
    answer = await api.put(f"{user}/{created['id']}", change)
    assert answer.status == 200
    assert answer.json["firstName"] == "Janet"
    assert answer.json["lastName"] == "Doe"
    assert set(answer.json["tags"]) == {"vip", "referral"}
    assert answer.json["metadata"] == change["metadata"]


async def test_delete_customer(api: Api, user: str) -> None:
    created = (await api.post(user, NEW_CUSTOMER)).json
    answer = await api.delete(f"{user}/{created['id']}")
    assert (answer.status, answer.body) == (204, b"")
    assert (await api.get(f"{user}/{created['id']}")).code == "customer_deleted"


async def test_deactivate_instead(api: Api) -> None:
    path = await api.create()
    answer = await api.put(path, {"active": False})
    assert (answer.status, answer.json["active"]) == (200, False)
    assert (await api.get(path)).json["active"] is False


async def test_add_and_delete_address(api: Api, user: str) -> None:
    created = (await api.post(user, NEW_CUSTOMER)).json
    path = f"{user}/{created['id']}/address"
    added = await api.post(path, OFFICE)
    assert added.status == 201
    assert OFFICE.items() <= added.json.items()
    assert added.json["id"].startswith("addr_")
    assert added.json["isDefault"] is True
    assert added.headers["Location"] == f"{path}/{added.json['id']}"
    deleted = await api.delete(added.headers["Location"])
    assert (deleted.status, deleted.body) == (204, b"")


async def test_customer_groups(api: Api, user: str) -> None:
    created = (await api.post(user, NEW_CUSTOMER)).json
    answer = await api.post(f"{user}/{created['id']}/tag", {"tags": ["wholesale", "vip"]})
    assert answer.status == 200
    assert answer.json["tags"] == ["referral", "wholesale", "vip"]
