"""What one order contributes, and how that is explained."""

from __future__ import annotations

import pytest

from service.order import contribution, explain, is_countable
from tests.support.histories import an_order


@pytest.mark.parametrize(
    ("fields", "amount", "reason"),
    [
        ({}, 5_000, "total 5000"),
        ({"status": "placed"}, 5_000, "total 5000"),
        ({"refunded": 0}, 5_000, "total 5000"),
        ({"refunded": 500}, 4_500, "total 5000 less 500 refunded"),
        ({"captured": 4_500}, 4_500, "captured 4500"),
        ({"captured": 0}, 0, "captured 0"),
        ({"captured": 4_500, "refunded": 500}, 4_000, "captured 4500 less 500 refunded"),
        ({"captured": 500, "refunded": 500}, 0, "captured 500 less 500 refunded"),
        ({"captured": 500, "refunded": 900}, 0,
         "captured 500 less 900 refunded, never below 0"),
    ],
)  # fmt: skip
def test_a_countable_order_is_explained_by_its_amounts(
    fields: dict[str, object], amount: int, reason: str
) -> None:
    order = an_order("ord_1", 1, total=5_000, **fields)
    assert is_countable(order)
    assert (contribution(order), explain(order)) == (amount, reason)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"status": "pending"}, "pending orders do not count"),
        ({"status": "cancelled", "refunded": 500}, "cancelled orders do not count"),
        ({"status": "failed"}, "failed orders do not count"),
        ({"test": True}, "test orders do not count"),
        ({"test": True, "status": "cancelled"}, "test orders do not count"),
    ],
)
def test_an_order_that_does_not_count_says_why(fields: dict[str, object], reason: str) -> None:
    order = an_order("ord_1", 1, total=5_000, captured=5_000, **({"refunded": None} | fields))
    assert not is_countable(order)
    assert (contribution(order), explain(order)) == (0, reason)
