"""The checks of the chaos are no judges that let everything pass: whatever is tampered with, they
say so, and of what nobody touched they say nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

import pytest

from tests.chaos.chain import WATERMARK, Reading
from tests.chaos.check_shown import check_list, check_own, check_roll_ups, check_totals
from tests.chaos.check_writes import check_writes
from tests.chaos.findings import Findings
from tests.chaos.history import check_history
from tests.chaos.journal import Attempt, Write, load, save
from tests.chaos.log import Log, Row, check_orders, check_reading
from tests.chaos.orders import Order, Shop, by_customer, totals

EPOCH = "e"
CREATED, UPDATED = "customer.created.v1", "customer.updated.v1"
ORDER_RECORDED = "customer.order_recorded.v1"
NOBODY = {"firstName": None, "lastName": None, "phone": None}
JANE = {
    **NOBODY,
    "id": "cust_1",
    "email": "jane@example.com",
    "tags": [],
    "metadata": {},
    "active": True,
    "addresses": [],
    "version": 1,
    "orderCount": 0,
    "totalSpent": 0,
    "spentByCurrency": {},
}


def a_write(kind: str, number: int, *statuses: int, **fields: object) -> Write:
    """Attempts get the request ids `number.0`, `number.1`, …"""
    path = "/user" if kind == "create" else "/user/cust_1"
    write = Write(kind, "POST", path, None, f"key{number}", epoch=EPOCH)
    codes = {409: "email_taken", 503: "database_unavailable", 500: "internal_error"}
    write.attempts = [
        Attempt(f"{number}.{place}", status, codes.get(status, ""))
        for place, status in enumerate(statuses)
    ]
    for name, value in fields.items():
        setattr(write, name, value)
    return write


def writes() -> list[Write]:
    """A creation that was answered, a change that was answered when it was repeated, a refusal."""
    created = a_write("create", 1, 201, position=1, version=1, shown=JANE)
    changed = a_write("update", 2, 503, 200, position=3, version=3)
    refused = a_write("create", 3, 409, allowed=["email_taken"])
    repeated = a_write("replay", 4, 201, position=1, version=1, shown=JANE, path="/user")
    repeated.repeats, repeated.changes, repeated.is_replayed = created.key, False, True
    return [created, changed, refused, repeated]


def rows() -> list[Row]:
    """The change was carried out by the attempt that was not answered."""
    return [
        Row(1, "cust_1", 1, CREATED, "1.0"),
        Row(2, "cust_1", 2, ORDER_RECORDED, "order", "ord_1", 3),
        Row(3, "cust_1", 3, UPDATED, "2.0"),
    ]


def judged(given: Sequence[Write], lying: Sequence[Row]) -> set[str]:
    log = Log(lying)
    log.findings.add_all(check_writes(given, log, (), EPOCH))
    return set(log.findings.counts)


def test_of_what_is_right_nothing_is_said() -> None:
    assert judged(writes(), rows()) == set()


@pytest.mark.parametrize(
    ("tamper", "kind"),
    [
        (lambda log: log.pop(), "lost"),
        (lambda log: log.append(log[2]._replace(position=4, version=4, request_id="2.1")), "twice"),
        (lambda log: log.insert(1, log.pop()), "out of order"),
        (lambda log: log.append(Row(4, "cust_1", 5, UPDATED, "2.0")), "out of order"),
        (lambda log: log.append(Row(4, "cust_2", 1, CREATED, "3.0")), "left a trace"),
        (lambda log: log.append(Row(4, "cust_2", 1, CREATED, "4.0")), "left a trace"),
        (lambda log: log.append(Row(4, "cust_2", 1, CREATED, "x")), "wrong"),
    ],
    ids=("removed", "repeated", "swapped", "a hole", "refused", "replayed", "nobody's"),
)
def test_a_log_that_was_tampered_with(tamper: Callable[[list[Row]], object], kind: str) -> None:
    log = rows()
    tamper(log)
    assert kind in judged(writes(), log)


@pytest.mark.parametrize(
    ("place", "name", "value", "kind"),
    [
        (0, "position", 2, "wrong"),
        (1, "version", 4, "wrong"),
        (1, "epoch", "another", "wrong"),
        (1, "fault", "shown otherwise", "wrong"),
        (1, "if_match", 1, "out of order"),
        (1, "attempts", [Attempt("2.0", 500, "internal_error")], "answered wrongly"),
        (1, "attempts", [Attempt("2.0", 404, "customer_not_found")], "answered wrongly"),
        (1, "attempts", [Attempt("2.0", 0)], "unanswered"),
        (2, "allowed", [""], "answered wrongly"),
        (3, "is_replayed", False, "wrong"),
        (3, "version", 2, "wrong"),
    ],
)
def test_answers_that_were_not_right(place: int, name: str, value: object, kind: str) -> None:
    given = writes()
    setattr(given[place], name, value)
    assert kind in judged(given, rows())


def test_an_ambiguous_refusal_may_have_left_one_trace_and_not_two() -> None:
    refused = a_write("create", 5, 503, 409, allowed=["email_taken"])
    one = Row(4, "cust_2", 1, CREATED, "5.0")
    assert judged([*writes(), refused], [*rows(), one]) == set()
    other = one._replace(position=5, customer_id="cust_3", request_id="5.1")
    assert judged([*writes(), refused], [*rows(), one, other]) == {"twice"}


def test_a_journal_is_read_as_it_was_written(tmp_path: object) -> None:
    file = tmp_path / "journal"
    save(file, writes())
    assert load(file) == writes()


# What subscribers read


def records() -> list[tuple[int, dict[str, str]]]:
    """Two partitions: one has all events of the log above, the other only a watermark."""

    def record(position: int, previous: int, kind: str, version: int = 0) -> dict[str, str]:
        place = {"ce_position": str(position), "ce_previousposition": str(previous)}
        about = {"ce_subject": "cust_1", "ce_sequence": str(version)} if version else {}
        return {**place, **about, "ce_type": kind}

    events = [(row.position, row.position - 1, row.kind, row.version) for row in rows()]
    return [*((0, record(*event)) for event in events), (1, record(2, 0, WATERMARK))]


def read(given: Sequence[tuple[int, dict[str, str]]], *, repeats_allowed: bool = False) -> Findings:
    reading = Reading(2, repeats_allowed=repeats_allowed)
    for partition, headers in given:
        reading.take(partition, headers)
    reading.findings.add_all(check_reading(reading.identities, Log(rows()), "subscriber"))
    return reading.findings


def test_of_a_topic_that_is_right_nothing_is_said() -> None:
    assert not read(records())


@pytest.mark.parametrize(
    ("tamper", "kind"),
    [
        (lambda topic: topic.pop(1), "lost"),
        (lambda topic: topic.pop(2), "lost"),
        (lambda topic: topic.insert(1, topic[0]), "twice"),
        (lambda topic: topic.insert(1, topic.pop(2)), "out of order"),
        (lambda topic: topic[1][1].update(ce_sequence="3"), "out of order"),
        (lambda topic: topic[1][1].update(ce_subject="cust_2", ce_sequence="1"), "wrong"),
        (lambda topic: topic[1][1].update(ce_type=UPDATED), "wrong"),
        (lambda topic: topic.append((0, {**topic[2][1], "ce_position": "4"})), "wrong"),
    ],
    ids=("removed", "cut off", "repeated", "swapped", "version", "customer", "type", "invented"),
)
def test_a_topic_that_was_tampered_with(
    tamper: Callable[[list[tuple[int, dict[str, str]]]], object], kind: str
) -> None:
    topic = records()
    tamper(topic)
    assert kind in read(topic).counts


def test_a_repeat_is_allowed_where_delivery_is_at_least_once() -> None:
    topic = records()
    topic.insert(1, topic[0])
    assert not read(topic, repeats_allowed=True)


def test_a_topic_that_was_made_anew_must_repeat_what_it_was() -> None:
    reading = Reading(2, repeats_allowed=False)
    for partition, headers in records()[:2]:
        reading.take(partition, headers)
    reading.begin_anew()
    for partition, headers in records():
        reading.take(partition, headers)
    assert not reading.findings
    assert reading.republished == 2
    reading.begin_anew()
    reading.take(0, {**records()[0][1], "ce_type": UPDATED})
    assert reading.findings.counts.keys() == {"wrong"}


# Orders and roll-ups


@pytest.fixture
def shop() -> Shop:
    shop = Shop(Random(5), ["cust_1", "cust_2"], "test")
    list(shop.messages(500))
    return shop


def an_order(version: int, **fields: object) -> Order:
    order: Order = {"orderId": "ord_1", "orderVersion": version, "customerId": "cust_1"}
    return {**order, "status": "paid", "currency": "USD", "total": 500, "test": False, **fields}


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


# Histories


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
