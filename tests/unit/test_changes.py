"""Which fields of the customer each event changed, from what to what."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from itertools import pairwise

import orjson
import pytest

from service.customer import fold
from service.documents import CustomerDocument
from service.errors import Corrupt
from service.events import (
    AddressAdded,
    AddressRemoved,
    CustomerChanges,
    CustomerCreated,
    CustomerDeactivated,
    CustomerReactivated,
    CustomerTagged,
    CustomerUntagged,
    CustomerUpdated,
    Event,
    OrderRecorded,
    RecordedEvent,
    Version,
)
from service.identifiers import AddressId
from service.queries.changes import LEFT_OUT, changes
from service.queries.history import tell
from tests.support.histories import MOMENT, an_address, an_order, recorded

JANE = CustomerCreated(email="jane@example.com", first_name="Jane", tags=("vip",))
PLACED = "2024-03-10T08:00:00.000Z"


def changed_by(event: Event, *before: Event, currency: str = "USD") -> dict[str, tuple]:
    """What the last of these events changed: by field, from and to."""
    documents: list[CustomerDocument | None] = []
    for history in ((JANE, *before), (JANE, *before, event)):
        customer = fold(recorded(history))
        assert customer is not None
        documents.append(customer.document(currency))
    assert documents[1] is not None
    return pairs(changes(documents[0], documents[1]))


def pairs(changed: bytes) -> dict[str, tuple]:
    found = orjson.loads(changed)
    assert all(each.keys() == {"from", "to"} for each in found.values())
    return {name: (each["from"], each["to"]) for name, each in found.items()}


def test_a_creation_comes_from_nothing() -> None:
    customer = fold(recorded([JANE]))
    assert customer is not None
    assert pairs(changes(None, customer.document("USD"))) == {
        "email": (None, "jane@example.com"),
        "firstName": (None, "Jane"),
        "metadata": (None, {}),
        "addresses": (None, []),
        "orderCount": (None, 0),
        "totalSpent": (None, 0),
        "spentByCurrency": (None, {}),
        "tags": (None, ["vip"]),
        "active": (None, True),
    }


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (
            CustomerUpdated(changes=CustomerChanges(first_name="Janet", phone="4711")),
            {"firstName": ("Jane", "Janet"), "phone": (None, "4711")},
        ),
        (
            CustomerUpdated(changes=CustomerChanges(first_name=None)),
            {"firstName": ("Jane", None)},
        ),
        (CustomerTagged(tags=("new",)), {"tags": (["vip"], ["vip", "new"])}),
        (CustomerUntagged(tags=("vip",)), {"tags": (["vip"], [])}),
        (CustomerDeactivated(), {"active": (True, False)}),
        (CustomerReactivated(), {}),
    ],
)
def test_an_event_changes_what_it_says(event: Event, expected: dict[str, tuple]) -> None:
    assert changed_by(event) == expected


def test_a_number_is_no_truth_value() -> None:
    """In Python they are equal; callers see 1 and then true."""
    one = CustomerUpdated(changes=CustomerChanges(metadata={"key": 1}))
    true = CustomerUpdated(changes=CustomerChanges(metadata={"key": True}))
    assert changed_by(one, one) == {}
    found = changed_by(true, one)
    assert orjson.dumps(found["metadata"]) == b'[{"key":1},{"key":true}]'


def test_a_default_that_moves_shows_in_both_addresses() -> None:
    first, second = (AddressAdded(address=an_address(f"addr_{n}", is_default=True)) for n in "12")
    held = changed_by(second, first)["addresses"]
    marks = [[(each["id"], each["isDefault"]) for each in side] for side in held]
    assert marks == [[("addr_1", True)], [("addr_1", False), ("addr_2", True)]]
    gone = AddressRemoved(
        address_id=AddressId("addr_2"), new_default_address_id=AddressId("addr_1")
    )
    assert [len(side) for side in changed_by(gone, first, second)["addresses"]] == [2, 1]


def test_an_order_shows_in_the_roll_ups_alone() -> None:
    order = OrderRecorded(order=an_order("ord_1", 1, total=500))
    expected: dict[str, tuple] = {
        "orderCount": (0, 1),
        "totalSpent": (0, 500),
        "spentByCurrency": ({}, {"USD": 500}),
        "lastOrderAt": (None, PLACED),
    }
    assert changed_by(order) == expected
    del expected["totalSpent"]
    assert changed_by(order, currency="EUR") == expected


def test_an_order_that_counts_no_longer_takes_everything_back() -> None:
    paid, void = (
        OrderRecorded(order=an_order("ord_1", number, total=500, status=status))
        for number, status in ((1, "paid"), (2, "cancelled"))
    )
    assert changed_by(void, paid) == {
        "orderCount": (1, 0),
        "totalSpent": (500, 0),
        "spentByCurrency": ({"USD": 500}, {}),
        "lastOrderAt": (PLACED, None),
    }
    assert changed_by(void) == {}


def test_what_every_event_moves_is_no_change() -> None:
    assert CustomerDocument.model_fields.keys() > LEFT_OUT
    before, after = (fold(recorded([JANE, *[CustomerReactivated()] * n])) for n in (0, 1))
    assert before is not None
    assert after is not None
    assert before.document("USD").updated_at == MOMENT.replace(second=1)
    assert after.document("USD").updated_at > before.document("USD").updated_at
    assert changes(before.document("USD"), after.document("USD")) == b"{}"


async def stream(events: Iterable[RecordedEvent]) -> AsyncIterator[RecordedEvent]:
    for event in events:
        yield event


async def test_a_page_is_a_part_of_the_whole_history() -> None:
    """Each change begins where the one before ended, also across pages."""
    tags = [CustomerTagged(tags=(f"tag {number}",)) for number in range(9)]
    history = recorded([JANE, *tags])
    whole = [each async for each in tell(stream(history), "USD", until=Version(10))]
    assert [each.recorded for each in whole] == history
    for after in range(10):
        until = min(10, after + 3)
        page = tell(stream(history), "USD", after=Version(after), until=Version(until))
        assert [each async for each in page] == whole[after:until]
    shown = [orjson.loads(each.text)["changes"]["tags"] for each in whole]
    assert all(old["to"] == new["from"] for old, new in pairwise(shown))


async def test_a_history_that_lacks_its_end_is_never_told_as_whole() -> None:
    told = tell(stream(recorded([JANE])), "USD", until=Version(2))
    with pytest.raises(Corrupt):
        assert [each async for each in told]
