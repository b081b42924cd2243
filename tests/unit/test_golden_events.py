"""Every event ever written can be read for ever, and means what it meant.

The files in tests/golden are never edited: a new version of an event gets a file of its own. Each
example is folded onto the same customer, and `shows` is what that customer then looks like, as far
as the event has a say in it.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import hypothesis.strategies as st
import orjson
import pytest
from hypothesis import given
from pydantic import BaseModel

from service.customer import fold
from service.errors import Corrupt
from service.events import (
    EVENT_TYPES,
    Address,
    AddressAdded,
    AddressRemoved,
    AddressUpdated,
    CustomerChanges,
    CustomerCreated,
    CustomerDeactivated,
    CustomerDeleted,
    CustomerReactivated,
    CustomerTagged,
    CustomerUntagged,
    CustomerUpdated,
    Event,
    Order,
    OrderRecorded,
    decode,
    encode,
)
from service.http.event_schemas import STATE_NAME, published_schemas
from service.upcasters import UPCASTERS, Json
from tests.support.histories import recorded

GOLDEN = Path(__file__).parent.parent / "golden"
WORDING = {"description", "examples", "title"}  # may be said better, unlike the rest


def read(path: Path) -> dict[str, Json]:
    document: dict[str, Json] = orjson.loads(path.read_bytes())
    return document


def golden_file(type_name: str, schema_version: int) -> Path:
    return GOLDEN / f"{type_name}.v{schema_version}.json"


def versions_ever() -> list[tuple[str, int]]:
    """Every (type, version) that was ever written: today's, and those that upcasters start from."""
    return sorted({(kind.type, kind.schema_version) for kind in EVENT_TYPES} | UPCASTERS.keys())


def examples() -> Iterator[tuple[str, int, dict[str, Json]]]:
    for path in sorted(GOLDEN.glob("customer.*.json")):
        document = read(path)
        for example in document["examples"]:
            yield document["type"], document["schemaVersion"], example


def shape_of(schema: Json) -> Json:
    """A schema without its wording."""
    if isinstance(schema, list):
        return [shape_of(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: {name: shape_of(each) for name, each in value.items()}
        if key in ("properties", "$defs")
        else shape_of(value)
        for key, value in schema.items()
        if key not in WORDING
    }


@pytest.mark.parametrize(("type_name", "schema_version"), versions_ever())
def test_every_version_of_every_event_has_a_golden_file(
    type_name: str, schema_version: int
) -> None:
    path = golden_file(type_name, schema_version)
    assert path.is_file(), f"write down examples of {type_name} v{schema_version} in {path}"
    document = read(path)
    assert (document["type"], document["schemaVersion"]) == (type_name, schema_version)


@pytest.mark.parametrize(
    ("type_name", "schema_version", "example"),
    [pytest.param(*each, id=f"{each[0]}.v{each[1]}: {each[2]['about']}") for each in examples()],
)
def test_a_stored_event_still_means_the_same(
    type_name: str, schema_version: int, example: dict[str, Json]
) -> None:
    event = decode(type_name, schema_version, orjson.dumps(example["data"]))
    before = [] if isinstance(event, CustomerCreated) else [a_whole_customer()]
    customer = fold(recorded([*before, event]))
    assert customer is not None
    document = orjson.loads(customer.document("USD").json_bytes())
    assert {name: document[name] for name in example["shows"]} == example["shows"]
    assert customer.is_deleted == isinstance(event, CustomerDeleted)


def a_whole_customer() -> Event:
    document = read(golden_file("customer.created", 1))
    data = next(each["data"] for each in document["examples"] if each["about"] == "everything")
    return decode("customer.created", 1, orjson.dumps(data))


def test_an_event_is_written_as_it_always_was() -> None:
    """Today's encoder gives back today's examples, so old and new data do not differ."""
    current = {kind.type: kind.schema_version for kind in EVENT_TYPES}
    for type_name, schema_version, example in examples():
        if schema_version == current[type_name]:
            event = decode(type_name, schema_version, orjson.dumps(example["data"]))
            assert orjson.loads(encode(event)) == example["data"]


def test_a_published_schema_keeps_its_shape() -> None:
    """Only wording may change, and new versions join; nobody who validates may be surprised."""
    published = {
        name: shape_of(schema)
        for name, schema in published_schemas().items()
        if name != STATE_NAME  # it grows as the customer does, by fields that readers may skip
    }
    assert published == read(GOLDEN / "published_schemas.json")


def test_an_unknown_event_and_one_from_the_future_are_corrupt() -> None:
    with pytest.raises(Corrupt):
        decode("customer.renamed", 1, "{}")
    with pytest.raises(Corrupt):
        decode("customer.created", 99, '{"email": "jane@example.com"}')
    with pytest.raises(Corrupt):
        decode("customer.created", 1, '{"email": "jane@example.com", "nickname": "J"}')


Model = TypeVar("Model", bound=BaseModel)


def made(model: type[Model], **fields: st.SearchStrategy[object]) -> st.SearchStrategy[Model]:
    """`st.builds` would give a field twice: by its name and, from the signature, by its alias."""
    return st.fixed_dictionaries(fields).map(model.model_validate)


TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
MAYBE = st.none() | TEXT
INTEGERS = st.integers(-(2**63), 2**63 - 1)
VALUES = TEXT | st.booleans() | INTEGERS | st.floats(allow_nan=False, allow_infinity=False)
METADATA = st.dictionaries(TEXT, VALUES, max_size=5)
TAGS = st.lists(TEXT, max_size=5).map(tuple)
TIMES = st.datetimes(datetime(1970, 1, 1), datetime(9999, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
ADDRESSES = made(
    Address,
    id=TEXT,
    label=MAYBE,
    line1=TEXT,
    city=TEXT,
    state=MAYBE,
    postal_code=MAYBE,
    country=TEXT,
    is_default=st.booleans(),
)
ORDERS = made(
    Order,
    order_id=TEXT,
    order_version=INTEGERS,
    status=st.sampled_from(["pending", "placed", "paid", "completed", "cancelled", "failed"]),
    currency=TEXT,
    total=INTEGERS,
    captured=st.none() | INTEGERS,
    refunded=st.none() | INTEGERS,
    placed_at=TIMES,
    test=st.booleans(),
)
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "email": TEXT,
        "firstName": MAYBE,
        "lastName": MAYBE,
        "phone": MAYBE,
        "metadata": METADATA,
    },
).map(CustomerChanges.model_validate)
CREATIONS = made(
    CustomerCreated,
    email=TEXT,
    first_name=MAYBE,
    last_name=MAYBE,
    phone=MAYBE,
    tags=TAGS,
    metadata=METADATA,
    addresses=st.lists(ADDRESSES, max_size=3).map(tuple),
    active=st.booleans(),
)
EVENTS: dict[type[Event], st.SearchStrategy[Event]] = {
    CustomerCreated: CREATIONS,
    CustomerUpdated: made(CustomerUpdated, changes=CHANGES),
    CustomerTagged: made(CustomerTagged, tags=TAGS),
    CustomerUntagged: made(CustomerUntagged, tags=TAGS),
    AddressAdded: made(AddressAdded, address=ADDRESSES),
    AddressUpdated: made(AddressUpdated, address=ADDRESSES),
    AddressRemoved: made(AddressRemoved, address_id=TEXT, new_default_address_id=MAYBE),
    CustomerDeactivated: st.just(CustomerDeactivated()),
    CustomerReactivated: st.just(CustomerReactivated()),
    CustomerDeleted: st.just(CustomerDeleted()),
    OrderRecorded: made(OrderRecorded, order=ORDERS),
}


def test_the_round_trip_covers_every_event() -> None:
    assert EVENTS.keys() == set(EVENT_TYPES)


@given(st.one_of(*EVENTS.values()))
def test_what_was_encoded_decodes_to_the_same(event: Event) -> None:
    decoded = decode(event.type, event.schema_version, encode(event))
    assert decoded == event
    assert encode(decoded) == encode(event)
    if isinstance(event, CustomerUpdated):
        assert isinstance(decoded, CustomerUpdated)
        assert decoded.changes.model_fields_set == event.changes.model_fields_set
