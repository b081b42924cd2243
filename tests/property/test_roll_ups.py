"""Count and spend of a customer follow from the orders' present states, however they came about.

Invariant: the expectation is worked out from the last version of each order, after the table in
docs/guarantees.md, "Roll-ups", without the code under test.
"""

from __future__ import annotations

from collections.abc import Iterable

import hypothesis.strategies as st
from hypothesis import given

from service.customer import Customer, fold
from service.events import CustomerCreated, CustomerDeleted, Event, Order, OrderRecorded
from tests.property.commands import ORDERS
from tests.support.histories import recorded

CREATED = CustomerCreated(email="jane@example.com")
MESSAGES = st.lists(
    ORDERS, min_size=1, max_size=12, unique_by=lambda order: (order.order_id, order.order_version)
)


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[list[Order], list[Order]]:
    """The same messages twice over: as they were sent, and in any order with any repeats."""
    sent = draw(MESSAGES)
    repeats = draw(st.lists(st.sampled_from(sent), max_size=6))
    return sent, draw(st.permutations([*sent, *repeats]))


def accepted(delivered: Iterable[Order]) -> list[Event]:
    """Only a higher version of an order is accepted."""
    last: dict[str, int] = {}
    events: list[Event] = []
    for order in delivered:
        if order.order_version > last.get(order.order_id, 0):
            last[order.order_id] = order.order_version
            events.append(OrderRecorded(order=order))
    return events


def customer_with(orders: Iterable[Event]) -> Customer:
    customer = fold(recorded([CREATED, *orders]))
    assert customer is not None
    return customer


def latest(orders: Iterable[Order]) -> list[Order]:
    newest = sorted(orders, key=lambda order: order.order_version)
    return list({order.order_id: order for order in newest}.values())


def spend_of(order: Order) -> int:
    paid = order.captured if order.captured is not None else order.total
    return max(paid - (order.refunded or 0), 0)


@given(deliveries())
def test_any_order_of_messages_gives_the_same_roll_ups(
    delivery: tuple[list[Order], list[Order]],
) -> None:
    sent, delivered = delivery
    counted = [
        order
        for order in latest(sent)
        if not order.test and order.status in ("placed", "paid", "completed")
    ]
    spent = dict.fromkeys(sorted(order.currency for order in counted), 0)
    for order in counted:
        spent[order.currency] += spend_of(order)

    customer = customer_with(accepted(delivered))

    for currency in ("USD", "EUR", "GBP"):
        document = customer.document(currency)
        assert document.order_count == len(counted)
        assert document.spent_by_currency == spent
        assert list(document.spent_by_currency) == list(spent)
        assert document.total_spent == spent.get(currency, 0)
        assert document.last_order_at == max((each.placed_at for each in counted), default=None)


@given(MESSAGES)
def test_one_order_contributes_by_its_last_version_alone(messages: list[Order]) -> None:
    """An order that is known in ten versions weighs what it weighs when known in its last."""
    first, *others = (order.model_copy(update={"order_id": "ord_0"}) for order in messages)
    every = [first, *others]
    last = max(every, key=lambda order: order.order_version)

    roundabout = customer_with(accepted(every)).document("USD")
    direct = customer_with(accepted([last])).document("USD")

    shown = {"order_count", "total_spent", "spent_by_currency", "last_order_at"}
    assert roundabout.model_dump(include=shown) == direct.model_dump(include=shown)


@given(deliveries())
def test_a_deletion_changes_no_total(delivery: tuple[list[Order], list[Order]]) -> None:
    events = accepted(delivery[1])
    middle = len(events) // 2
    erased = fold(recorded([CREATED, *events[:middle], CustomerDeleted(), *events[middle:]]))
    assert erased is not None
    assert erased.orders == customer_with(events).orders
