"""PUT and PATCH follow RFC 7396, held against its own algorithm.

Invariant: `merge_patch` is the pseudo code of RFC 7396, section 2, line by line. A patch goes the
whole way: JSON, body, command, events, state, document.
"""

from __future__ import annotations

from typing import TypeAlias

import hypothesis.strategies as st
import orjson
from hypothesis import given

from service.customer import Command, CreateCustomer, Customer, decide, evolve
from service.events import Address
from service.http.models import AddressPatch, CustomerPatch
from tests.property.commands import ADDRESSES, FEW_METADATA, KEYS, VALUES
from tests.support.histories import recorded

Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"

NO_TEXT = {"firstName": None, "lastName": None, "phone": None}
PERSON: dict[str, st.SearchStrategy[Json]] = {
    "email": st.sampled_from(["jane@example.com", "joe@example.com"]),
    "firstName": st.sampled_from([None, "Jane", "Zoë"]),
    "lastName": st.sampled_from([None, "Doe"]),
    "phone": st.sampled_from([None, "+1-555-0123"]),
    "tags": st.none() | st.lists(st.sampled_from(["vip", "new", "old"]), max_size=3, unique=True),
    "metadata": st.none() | st.dictionaries(KEYS, st.none() | VALUES, max_size=5),
    "active": st.booleans(),
}
PERSON_PATCHES = st.fixed_dictionaries({}, optional=PERSON)
ADDRESS_PATCHES = st.fixed_dictionaries(
    {},
    optional={
        "label": st.sampled_from([None, "Home"]),
        "line1": st.sampled_from(["1 Rd", "2 Rd"]),
        "city": st.sampled_from(["Oslo", "Rome"]),
        "state": st.sampled_from([None, "OR"]),
        "postalCode": st.sampled_from([None, "97201"]),
        "country": st.sampled_from(["NO", "IT"]),
        "isDefault": st.just(True),
    },
)


def merge_patch(target: Json, patch: Json) -> Json:
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge_patch(result.get(name), value)
    return result


def exact(value: Json) -> Json:
    """Equal only where JSON is: true is not 1."""
    if isinstance(value, dict):
        return {name: exact(each) for name, each in value.items()}
    return ["bool", value] if isinstance(value, bool) else value


def after(customer: Customer | None, command: Command) -> Customer:
    for event in recorded(decide(customer, command), after=customer):
        customer = evolve(customer, event)
    assert customer is not None
    return customer


def shown(customer: Customer, names: set[str]) -> dict[str, Json]:
    document = orjson.loads(customer.document("USD").json_bytes())
    return {name: document[name] for name in names}


@given(FEW_METADATA, st.lists(PERSON_PATCHES, min_size=1, max_size=4))
def test_a_customer_is_patched_as_the_rfc_says(
    metadata: dict[str, Json], patches: list[dict[str, Json]]
) -> None:
    create = CreateCustomer(id="cust_1", email="jane@example.com", metadata=metadata)
    customer = after(None, create)
    expected: Json = shown(customer, set(PERSON))
    for patch in patches:
        expected = merge_patch(expected, patch)
        assert isinstance(expected, dict)
        # What is cleared is shown as empty, never left out.
        expected = {**NO_TEXT, "tags": [], "metadata": {}, **expected}
        body = CustomerPatch.model_validate_json(orjson.dumps(patch))
        customer = after(customer, body.command())
        found = shown(customer, set(PERSON))
        for document in (expected, found):
            document["tags"] = sorted(document["tags"])
        assert exact(found) == exact(expected)


@given(st.lists(ADDRESSES, min_size=1, max_size=3, unique_by=lambda each: each.id), ADDRESS_PATCHES)
def test_an_address_is_patched_as_the_rfc_says(
    addresses: list[Address], patch: dict[str, Json]
) -> None:
    create = CreateCustomer(id="cust_1", email="jane@example.com", addresses=tuple(addresses))
    customer = after(None, create)
    held = customer.addresses[-1]
    expected = merge_patch(orjson.loads(held.model_dump_json(by_alias=True)), patch)
    assert isinstance(expected, dict)
    command = AddressPatch.model_validate_json(orjson.dumps(patch)).command(held.id)
    address = after(customer, command).addresses[-1]
    found = orjson.loads(address.model_dump_json(by_alias=True))
    assert found == {"label": None, "state": None, "postalCode": None, **expected}
