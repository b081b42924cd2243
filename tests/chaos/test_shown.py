"""What is shown otherwise than it was sent and answered is noticed: roll-ups, lists, histories."""

from __future__ import annotations

from random import Random

import pytest

from tests.chaos.a_story import (
    CREATED,
    JANE,
    NOBODY,
    ORDER_RECORDED,
    UPDATED,
    a_write,
    an_order,
    rows,
    writes,
)
from tests.chaos.check_shown import check_list, check_own, check_roll_ups, check_totals
from tests.chaos.history import check_history
from tests.chaos.log import Log, check_orders
from tests.chaos.orders import Shop, by_customer, totals


@pytest.fixture
def shop() -> Shop:
    shop = Shop(Random(5), ["cust_1", "cust_2"], "test")
    list(shop.messages(500))
    return shop


def test_orders_that_are_not_in_the_log_as_sent() -> None:
    log = Log(rows())
    sent = {"ord_1": an_order(3)}
    assert not check_orders(log, sent, ["ord_unknown"])
    assert check_orders(log, {"ord_1": an_order(4)}, []).counts == {"lost": 1}
    assert check_orders(log, {**sent, "ord_2": an_order(1)}, []).counts == {"lost": 1}
    assert check_orders(log, {}, []).counts == {"wrong": 1}
    assert check_orders(log, sent, ["ord_1"]).counts == {"left a trace": 1}
    again = Log([*rows(), rows()[1]._replace(position=4, version=4)])
    assert again.findings.counts == {"twice": 1}


def test_sums_follow_from_the_last_states() -> None:
    orders = [
        an_order(1, refunded=200),
        an_order(1, captured=100, refunded=300),
        an_order(1, status="cancelled"),
        an_order(1, test=True),
        an_order(1, currency="EUR", captured=700),
    ]
    assert by_customer(orders)["cust_1"].shown == {
        "orderCount": 3,
        "totalSpent": 300,
        "spentByCurrency": {"EUR": 700, "USD": 300},
    }
    assert totals(orders) == {"EUR": (1, 700), "USD": (2, 300)}


def test_a_roll_up_that_was_altered(shop: Shop) -> None:
    orders = list(shop.last.values())
    shown = {
        each: {**JANE, "id": each, **by_customer(orders)[each].shown}
        for each in ("cust_1", "cust_2")
    }
    assert not check_roll_ups(orders, shown)
    assert not check_totals(orders, totals(orders))
    models = [dict(document) for document in shown.values()]
    assert not check_list(models, 2, shown)
    for name in ("orderCount", "totalSpent"):
        altered = {**shown, "cust_1": {**shown["cust_1"], name: shown["cust_1"][name] + 1}}
        assert check_roll_ups(orders, altered).counts == {"roll-ups": 1}
        assert check_list(models, 2, altered).counts == {"roll-ups": 1}
    count, spent = totals(orders)["EUR"]
    altered_totals = {**totals(orders), "EUR": (count, spent - 1)}
    assert check_totals(orders, altered_totals).counts == {"roll-ups": 1}


def test_a_list_that_lacks_doubles_or_invents_somebody() -> None:
    shown = {"cust_1": JANE, "cust_2": {**JANE, "id": "cust_2"}, "cust_3": None}
    models = [JANE, {**JANE, "id": "cust_2"}]
    assert not check_list(models, 2, shown)
    assert "lost" in check_list(models[:1], 2, shown).counts
    assert "twice" in check_list([*models, JANE], 2, shown).counts
    assert "wrong" in check_list([*models, {**JANE, "id": "cust_3"}], 2, shown).counts
    assert "wrong" in check_list(models, 3, shown).counts


def test_customers_that_are_not_as_their_writer_left_them() -> None:
    wanted = {**NOBODY, "email": "jane@example.com", "tags": [], "metadata": {}}
    own = {"id": "cust_1", "is_deleted": False, "shown": {**wanted, "active": True}}
    own["shown"]["addresses"] = []
    assert not check_own([own], {"cust_1": JANE})
    assert check_own([own], {"cust_1": None}).counts == {"lost": 1}
    assert check_own([own], {"cust_1": {**JANE, "lastName": "Doe"}}).counts == {"wrong": 1}
    assert check_own([{**own, "is_deleted": True}], {"cust_1": JANE}).counts == {"wrong": 1}


def events() -> list[dict[str, object]]:
    created = {name: JANE[name] for name in ("email", *NOBODY, "tags", "metadata", "addresses")}
    order = {**an_order(1), "captured": None, "refunded": 100}
    found = [
        (CREATED, {**created, "active": True}),
        (ORDER_RECORDED, {"order": order}),
        (UPDATED, {"changes": {"firstName": "Jane"}}),
    ]
    return [
        {"version": version, "position": version, "type": kind, "data": data}
        for version, (kind, data) in enumerate(found, start=1)
    ]


def test_a_history_that_is_not_what_was_answered() -> None:
    spent = {"orderCount": 1, "totalSpent": 400, "spentByCurrency": {"USD": 400}}
    now = {**JANE, "firstName": "Jane", "version": 3, **spent}
    given = [writes()[0], a_write("update", 2, 200, position=3, version=3, shown=now)]
    assert not check_history(events(), given, now)
    assert check_history(events(), given, {**now, "totalSpent": 401}).counts == {"wrong": 1}
    other = a_write("update", 2, 200, position=3, version=3, shown={**now, "firstName": "Joe"})
    assert check_history(events(), [other], now).counts == {"wrong": 1}
    moved = a_write("update", 2, 200, position=4, version=3, shown=now)
    assert check_history(events(), [moved], now).counts == {"wrong": 1}
    assert "lost" in check_history(events()[:2], given, now).counts
    swapped = [events()[0], events()[2], events()[1]]
    assert "out of order" in check_history(swapped, given, now).counts
