"""Given what is shown and new events, then what is shown: the projection without its tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from random import Random
from uuid import UUID

import hypothesis.strategies as st
import orjson
import pytest
from hypothesis import given, settings

from projections.customers import (
    Change,
    Incoming,
    Present,
    Stop,
    anonymous_reference,
    fold,
    incoming,
)
from projections.documents import read_document
from projections.roll_ups import Contribution
from projections.rows import Rows
from service.event_log import StoredEvent
from service.events import (
    AddressUpdated,
    CustomerCreated,
    CustomerDeactivated,
    CustomerDeleted,
    CustomerTagged,
    CustomerUpdated,
    Event,
    Order,
    OrderRecorded,
    RecordedEvent,
    encode,
)
from service.identifiers import event_id
from tests.support.histories import MOMENT, an_address, an_order, recorded
from tests.support.projections import CURRENCIES, ReadModel, a_history, expected

NOTHING = Present(0, False, None, "USD", {})
GONE = Present(2, False, None, "USD", {}, reference="anon_1")
ORDER_FIELDS = {field.alias for field in Order.model_fields.values()}
CREATED = CustomerCreated(email="jane@example.com", first_name="Jane", tags=("vip",))


def rows_of(changes: Sequence[Change]) -> Rows:
    rows = Rows()
    for change in changes:
        rows.add(change)
    return rows


def as_incoming(event: RecordedEvent) -> Incoming:
    return Incoming(
        *(event.position, event.tenant, event.customer_id, event.version, event.time, event.event),
        *(event.id, event.is_forgotten),
    )


def incomings(*events: Event, first_version: int = 1) -> list[Incoming]:
    made = [as_incoming(event) for event in recorded(events)]
    return [each._replace(version=number) for number, each in enumerate(made, first_version)]


class Shown:
    """The tables of the read model, in memory: what customers_v1.apply and its sisters do."""

    def __init__(self) -> None:
        self.model = ReadModel()

    def present(self, customer_id: str, tenant: str, *, has_all_orders: bool) -> Present:
        row = self.model.customers.get(customer_id)
        orders = {
            order_id: Contribution(*held[:5])  # type: ignore[arg-type]
            for (owner, order_id), held in self.model.orders.items()
            if owner == customer_id
        }
        version, document = (row[1], row[3]) if row is not None else (0, None)
        currency, reference = CURRENCIES[tenant], self.model.references.get(customer_id)
        return Present(version, False, document, currency, orders, has_all_orders, reference)

    def apply(self, batch: Sequence[RecordedEvent]) -> None:
        groups: dict[str, list[Incoming]] = {}
        for event in batch:
            groups.setdefault(event.customer_id, []).append(as_incoming(event))
        changes = [self._fold(events) for events in groups.values()]
        assert not any(change.has_gap or change.stop for change in changes)
        self._write(rows_of(changes))

    def _fold(self, events: Sequence[Incoming]) -> Change:
        first = events[0]
        present = self.present(first.customer_id, first.tenant, has_all_orders=False)
        spoken_of = {
            each.event.order.order_id for each in events if isinstance(each.event, OrderRecorded)
        }
        orders = {each: held for each, held in present.orders.items() if each in spoken_of}
        change = fold(events, present._replace(orders=orders))
        if change.lacks_orders:
            change = fold(events, present._replace(has_all_orders=True))
        return change

    def _write(self, rows: Rows) -> None:
        model = self.model
        for row in rows.customers:
            model.customers[row.id] = (
                row.tenant,
                row.version,
                row.position,
                row.document,
                row.item,
            )
        for moved in rows.activities:
            held = model.activities[moved.id]
            model.activities[moved.id] = (held[0], *moved[1:], *held[5:])
        self._anonymize(rows)
        for order in rows.orders:
            model.orders[order.customer_id, order.order_id] = order[2:]
        for listed in rows.listings:
            model.activities[listed.id] = (
                *(listed.tenant, *listed.activity[1:], listed.is_active, listed.tags),
            )
            model.profiles[listed.id] = (*listed[1:8], listed.tags)
        for found in rows.searches:
            model.searches[found.id] = (found.tenant, found.words, frozenset(found.grams))
        for gone in rows.gone:
            for table in (model.profiles, model.activities, model.searches):
                del table[gone]
        for tag in rows.untagged:
            model.tagged.remove(tuple(tag))
        for tag in rows.tagged:
            assert tuple(tag) not in model.tagged
            model.tagged.add(tuple(tag))
        for counts, deltas in ((model.counts, rows.counts), (model.days, rows.days)):
            counts.update(deltas)
            assert min(counts.values(), default=0) >= 0
            for key in [key for key, count in counts.items() if count == 0]:
                del counts[key]

    def _anonymize(self, rows: Rows) -> None:
        model = self.model
        for customer_id, reference, tenant, deleted_at in rows.anonymous:
            model.references[customer_id] = reference
            model.anonymous[reference] = (tenant, deleted_at)
            for key in [key for key in model.orders if key[0] == customer_id]:
                model.orders[reference, key[1]] = model.orders.pop(key)


def batches(choose: Random, history: Sequence[RecordedEvent]) -> Iterator[Sequence[RecordedEvent]]:
    """The history in pieces of any size, each beginning anywhere in what was given before."""
    done = 0
    while done < len(history):
        begin = choose.randrange(done + 1) if choose.random() < 0.3 else done
        done = choose.randrange(done, len(history)) + 1
        yield history[begin:done]


@given(st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_any_batches_show_what_the_fold_of_the_streams_shows(choose: Random) -> None:
    history = a_history(choose, steps=choose.randrange(40))
    shown = Shown()
    for batch in batches(choose, history):
        shown.apply(batch)
    assert shown.model == expected(history)


def test_what_was_seen_before_is_ignored() -> None:
    events = incomings(CREATED, CustomerTagged(tags=("wholesale",)))
    before = fold(events, NOTHING)
    assert before.document is not None
    present = Present(2, False, rows_of([before]).customers[0].document, "USD", {})
    again = fold(events, present)
    assert (again.version, again.skipped, again.updated_at) == (2, 2, None)
    assert rows_of([again]) == Rows()


def test_a_missing_event_is_a_gap() -> None:
    events = incomings(CREATED, CustomerTagged(tags=("b",)))
    events[1] = events[1]._replace(version=3)
    assert fold(events, NOTHING).has_gap


def test_a_deleted_customer_does_not_come_back() -> None:
    created, deleted = incomings(CREATED, CustomerDeleted())
    assert fold([created, deleted], GONE).document is None
    assert fold([created, deleted], GONE).updated_at is None
    again = created._replace(version=3)
    assert fold([again], GONE).stop == Stop(3, 1, "impossible")


@pytest.mark.parametrize("event", [CustomerTagged(tags=("b",)), CustomerDeleted()])
@pytest.mark.parametrize("is_forgotten", [False, True])
def test_only_orders_follow_a_deletion(event: Event, is_forgotten: bool) -> None:
    (late,) = incomings(event, first_version=3)
    change = fold([late._replace(is_forgotten=is_forgotten)], GONE)
    assert change.stop == Stop(3, 1, "impossible")


def test_the_reference_is_the_same_from_either_source_and_tells_deletions_apart() -> None:
    stored, other = UUID(int=7), UUID(int=8)
    assert anonymous_reference(stored) == anonymous_reference(event_id(stored))
    assert anonymous_reference(stored) != anonymous_reference(other)
    assert anonymous_reference(stored) == "anon_227382118003479726e06c18b233ba79"


def test_orders_on_both_sides_of_a_deletion_in_one_batch_stand_under_the_reference() -> None:
    before, after = an_order("ord_1", 1, total=500), an_order("ord_2", 1, total=700)
    refund = an_order("ord_1", 2, total=500, refunded=100)
    events = (CREATED, before, CustomerDeleted(), after, refund)
    batch = incomings(*(OrderRecorded(order=e) if isinstance(e, Order) else e for e in events))
    rows = rows_of([fold(batch, NOTHING)])
    reference = anonymous_reference(batch[2].id)
    assert rows.anonymous == [("cust_1", reference, "default", batch[2].time)]
    assert [order[:2] for order in rows.orders] == [(reference, "ord_1"), (reference, "ord_2")]
    assert [order.amount for order in rows.orders] == [400, 700]
    assert all(set(orjson.loads(order.state)) == ORDER_FIELDS for order in rows.orders)
    assert rows == Rows(
        customers=rows.customers,
        orders=rows.orders,
        anonymous=rows.anonymous,
    )


def test_a_forgotten_event_takes_the_customer_out_as_a_deletion_does() -> None:
    present = Present(
        1, False, rows_of([fold(incomings(CREATED), NOTHING)]).customers[0][5], "", {}
    )
    changes = CustomerUpdated.model_validate({"changes": {"firstName": None}})
    (event,) = incomings(changes, first_version=2)
    (deleted,) = incomings(CustomerDeleted(), first_version=2)
    forgotten = rows_of([fold([event._replace(is_forgotten=True)], present)])
    erased = rows_of([fold([deleted], present)])
    assert forgotten.gone == ["cust_1"]
    assert replace(erased, anonymous=[]) == forgotten


def test_between_a_forgotten_event_and_the_deletion_only_versions_and_orders_change() -> None:
    hidden = Present(2, False, None, "USD", {})
    tagged, order, deactivated = incomings(
        CustomerTagged(tags=("b",)),
        OrderRecorded(order=an_order("ord_1", 1, total=500)),
        CustomerDeactivated(),
        first_version=3,
    )
    rows = rows_of([fold([tagged, order, deactivated], hidden)])
    assert [(row.version, row.document) for row in rows.customers] == [(5, None)]
    assert [order.customer_id for order in rows.orders] == ["cust_1"]
    assert rows == Rows(customers=rows.customers, orders=rows.orders)
    (again,) = incomings(CREATED, first_version=3)
    assert fold([again], hidden).stop == Stop(3, 1, "impossible")


def test_a_forgotten_creation_shows_nobody() -> None:
    (created,) = incomings(CREATED.model_copy(update={"email": "", "first_name": None}))
    rows = rows_of([fold([created._replace(is_forgotten=True)], NOTHING)])
    assert rows == Rows(customers=[("cust_1", "default", 0, 1, 1, None, None)])  # type: ignore[list-item]


@pytest.mark.parametrize("is_forgotten", [False, True])
def test_a_parked_customer_is_not_shown_beyond_its_deletion(is_forgotten: bool) -> None:
    whole = rows_of([fold(incomings(CREATED), NOTHING)]).customers[0].document
    parked = Present(1, True, whole, "USD", {})
    event = CustomerDeactivated() if is_forgotten else CustomerDeleted()
    (late,) = incomings(event, first_version=4)
    rows = rows_of([fold([late._replace(is_forgotten=is_forgotten)], parked)])
    assert [(row.old_version, row.version, row.document) for row in rows.customers] == [
        (1, 1, None)
    ]
    assert (rows.gone, rows.anonymous) == (["cust_1"], [])


def test_a_customer_that_stops_before_its_deletion_is_not_shown() -> None:
    poison = AddressUpdated(address=an_address("addr_9"))
    change = fold(incomings(CREATED, poison, CustomerDeleted()), NOTHING)
    assert (change.version, change.document) == (1, None)
    assert change.stop == Stop(2, 2, "impossible")


def test_an_order_after_the_deletion_changes_only_the_order() -> None:
    order = an_order("ord_1", 1, total=500)
    (event,) = incomings(OrderRecorded(order=order), first_version=3)
    rows = rows_of([fold([event], GONE)])
    assert rows.customers == [("cust_1", "default", 2, 3, 1, None, None)]
    assert [(each.customer_id, each.amount) for each in rows.orders] == [("anon_1", 500)]
    assert rows == Rows(customers=rows.customers, orders=rows.orders)


def test_an_order_writes_no_row_of_names_tags_or_search() -> None:
    created = rows_of([fold(incomings(CREATED), NOTHING)])
    present = Present(1, False, created.customers[0].document, "USD", {})
    (event,) = incomings(OrderRecorded(order=an_order("ord_1", 1, total=500)), first_version=2)
    rows = rows_of([fold([event], present)])
    assert rows == Rows(customers=rows.customers, activities=rows.activities, orders=rows.orders)
    assert rows.activities[0][1:3] == (500, 1)


def test_a_change_of_phone_writes_no_listing() -> None:
    created = rows_of([fold(incomings(CREATED), NOTHING)])
    present = Present(1, False, created.customers[0].document, "USD", {})
    changes = CustomerUpdated.model_validate({"changes": {"phone": "+1-555-0100"}})
    rows = rows_of([fold(incomings(changes, first_version=2), present)])
    assert rows == Rows(customers=rows.customers, activities=rows.activities)


def test_spend_needs_all_orders_only_where_an_order_leaves_a_hole() -> None:
    created = rows_of([fold(incomings(CREATED), NOTHING)])
    present = Present(1, False, created.customers[0].document, "USD", {})
    paid = OrderRecorded(order=an_order("ord_1", 1, total=500))
    rows = rows_of([fold(incomings(paid, first_version=2), present)])
    held = {"ord_1": Contribution(*rows.orders[0][2:7])}
    present = Present(2, False, rows.customers[0].document, "USD", held)

    refunded = OrderRecorded(order=an_order("ord_1", 2, total=500, refunded=200))
    change = fold(incomings(refunded, first_version=3), present)
    assert not change.lacks_orders
    assert change.document is not None
    assert change.document["spentByCurrency"] == {"USD": 300}

    cancelled = OrderRecorded(order=an_order("ord_1", 2, total=500, status="cancelled"))
    assert fold(incomings(cancelled, first_version=3), present).lacks_orders
    change = fold(incomings(cancelled, first_version=3), present._replace(has_all_orders=True))
    assert change.document is not None
    assert change.document["spentByCurrency"] == {}
    assert change.document["lastOrderAt"] is None


def test_a_poison_event_stops_its_customer_with_everything_before_it_applied() -> None:
    missing = AddressUpdated(address=an_address("addr_9"))
    change = fold(incomings(CREATED, missing, CustomerTagged(tags=("late",))), NOTHING)
    assert (change.version, change.stop) == (1, Stop(2, 2, "impossible"))
    rows = rows_of([change])
    assert [row.version for row in rows.customers] == [1]
    assert rows.parked == [("cust_1", "default", 2, 2, "impossible")]


def test_a_parked_customer_waits() -> None:
    change = fold(incomings(CREATED), Present(0, True, None, "USD", {}))
    assert (change.skipped, change.updated_at, change.stop) == (1, None, None)


@pytest.mark.parametrize(
    ("type_name", "schema_version", "data", "reason"),
    [
        ("customer.created", 1, "{}", "undecodable"),
        ("customer.created", 1, "not json", "undecodable"),
        ("customer.created", 2, encode(CREATED), "unknown_type"),
        ("customer.merged", 1, "{}", "unknown_type"),
    ],
)
def test_why_an_event_cannot_be_read(
    type_name: str, schema_version: int, data: str, reason: str
) -> None:
    stored = StoredEvent(
        7, UUID(int=0), "default", "cust_1", 1, type_name, schema_version, data, "{}", MOMENT
    )
    change = fold([incoming(stored)], NOTHING)
    assert change.stop == Stop(1, 7, reason)


def test_numbers_that_only_python_holds_exactly_survive_reading_and_writing() -> None:
    huge = CREATED.model_copy(update={"metadata": {"id": 2**70, "ratio": 1e22, "n": 1}})
    written = rows_of([fold(incomings(huge), NOTHING)]).customers[0].document
    assert written is not None
    assert read_document(written)["metadata"] == {"id": 2**70, "ratio": 1e22, "n": 1}
    present = Present(1, False, written, "USD", {})
    (tagged,) = incomings(CustomerTagged(tags=("b",)), first_version=2)
    rewritten = rows_of([fold([tagged], present)]).customers[0].document
    assert rewritten is not None
    assert str(2**70) in rewritten
