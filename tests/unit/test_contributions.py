"""What orders add up to, however many: sums that are right, and old states that stay."""

from __future__ import annotations

import gc
import sys
from datetime import timedelta
from random import Random

import pytest

from service.customer import Contribution, Customer, evolve, fold
from service.customer.contributions import Contributions
from service.events import CustomerCreated, OrderRecorded
from tests.support.histories import MOMENT, an_order, recorded

NEW_BYTES_MAX = 16_000  # of one state that follows another; a copy of 1,000 orders is 37,000


def a_contribution(choose: Random) -> Contribution:
    return Contribution(
        currency=choose.choice(("USD", "EUR", "JPY")),
        amount=choose.randrange(3),
        is_countable=choose.random() < 0.7,
        placed_at=MOMENT + timedelta(days=choose.randrange(1_000)),
    )


def check(held: Contributions, model: dict[str, Contribution]) -> None:
    countable = [each for each in model.values() if each.is_countable]
    spent = dict.fromkeys(sorted(each.currency for each in countable), 0)
    for each in countable:
        spent[each.currency] += each.amount
    assert held == model
    assert len(held) == len(model)
    assert sorted(held) == sorted(model)
    assert held.order_count == len(countable)
    assert list(held.spent_by_currency.items()) == list(spent.items())
    assert held.last_order_at == max((each.placed_at for each in countable), default=None)


@pytest.mark.parametrize("orders", [1, 5, 40, 1_000])
def test_every_state_on_the_way_is_what_a_plain_map_says(orders: int) -> None:
    """All are looked at once the last has been made: nothing moved under an older one."""
    choose = Random(orders)
    held, model = Contributions(), dict[str, Contribution]()
    states = [(held, model)]
    for _ in range(2 * orders):
        order_id, contribution = f"ord_{choose.randrange(orders)}", a_contribution(choose)
        held = held.with_order(order_id, contribution)
        model = {**model, order_id: contribution}
        states.append((held, model))
    for each in choose.sample(states, min(50, len(states))) + states[-1:]:
        check(*each)


def test_what_is_not_there_is_not_found() -> None:
    many = Contributions()
    for number in range(100):
        many = many.with_order(f"ord_{number}", a_contribution(Random(number)))
    assert "ord_100" not in many
    assert many.get("") is None
    with pytest.raises(KeyError):
        Contributions()["ord_1"]


def with_orders(count: int) -> Customer:
    orders = [OrderRecorded(order=an_order(f"ord_{n}", 1, total=n)) for n in range(count)]
    customer = fold(recorded([CustomerCreated(email="jane@example.com"), *orders]))
    assert customer is not None
    return customer


def reached_from(state: Customer) -> dict[int, object]:
    """Every object that a state is made of, by identity; classes are not part of it."""
    found: dict[int, object] = {}
    waiting: list[object] = [state]
    while waiting:
        each = waiting.pop()
        if id(each) not in found and not isinstance(each, type):
            found[id(each)] = each
            waiting += gc.get_referents(each)
    return found


@pytest.mark.parametrize("orders", [1_000, 20_000])
@pytest.mark.parametrize("order_id", ["ord_0", "another"])
def test_one_more_order_copies_next_to_nothing_of_the_others(orders: int, order_id: str) -> None:
    """So a fold of many orders is far from quadratic."""
    before = with_orders(orders)
    event = OrderRecorded(order=an_order(order_id, 2, total=5))
    (next_event,) = recorded([event], after=before)
    known = reached_from(before)
    after = evolve(before, next_event)
    new = [each for key, each in reached_from(after).items() if key not in known]
    assert 0 < sum(map(sys.getsizeof, new)) < NEW_BYTES_MAX
    assert len(known) > orders
