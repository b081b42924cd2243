"""What one order contributes to a customer's count and spend; pure.

Invariant: the contribution follows from the order's present state alone, so repeats, late messages
and rebuilds give the same numbers. Source of the rules: docs/guarantees.md, "Roll-ups".
"""

from __future__ import annotations

from service.events import Order

COUNTABLE_STATUSES = frozenset({"placed", "paid", "completed"})


def is_countable(order: Order) -> bool:
    """A fully refunded order still counts; a test, cancelled, failed or pending one does not."""
    return not order.test and order.status in COUNTABLE_STATUSES


def contribution(order: Order) -> int:
    """Minor units of the order's own currency; never below zero."""
    if not is_countable(order):
        return 0
    received = order.total if order.captured is None else order.captured
    return max(0, received - (order.refunded or 0))


def explain(order: Order) -> str:
    """How the contribution comes about, in words; amounts in minor units."""
    if order.test:
        return "test orders do not count"
    if not is_countable(order):
        return f"{order.status} orders do not count"
    word, received = ("total", order.total)
    if order.captured is not None:
        word, received = ("captured", order.captured)
    if not order.refunded:
        return f"{word} {received}"
    floor = ", never below 0" if order.refunded > received else ""
    return f"{word} {received} less {order.refunded} refunded{floor}"
