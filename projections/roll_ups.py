"""What orders add up to in a customer's document: count, spend and the last order; pure.

Invariant: it follows from each order's last state alone, never from how often it was heard of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from projections.documents import Document
from service import order as orders
from service.documents import timestamp_text
from service.events import Order


class Contribution(NamedTuple):
    """What an order adds: minor units of its currency, and one to the count if countable."""

    order_version: int
    currency: str
    amount: int
    is_countable: bool
    placed_at: datetime


def contribution(order: Order) -> Contribution:
    """Raises OverflowError for a time that cannot be shown in UTC."""
    return Contribution(
        order.order_version,
        order.currency,
        orders.contribution(order),
        orders.is_countable(order),
        order.placed_at.astimezone(UTC),
    )


def roll_up(
    document: Document,
    changed: Mapping[str, tuple[Contribution, Order]],
    held: Mapping[str, Contribution],
    currency: str,
    *,
    is_whole: bool,
) -> bool:
    """Bring count and spend up to date; False where that takes orders that are not at hand.

    `held`: what is known of the orders so far; of all the customer's orders where it `is_whole`.
    """
    if is_whole:
        document["spentByCurrency"].clear()
        document["orderCount"], document["lastOrderAt"] = 0, None
        _add(document, [each for order_id, each in held.items() if order_id not in changed])
    else:
        for order_id, (new, _) in changed.items():
            before = held.get(order_id)
            if before is not None:
                if _leaves_a_hole(before, new):
                    return False
                _take_away(document, before)
    _add(document, [new for new, _ in changed.values()])
    spent = document["spentByCurrency"]
    if len(spent) > 1:
        document["spentByCurrency"] = dict(sorted(spent.items()))
    document["totalSpent"] = spent.get(currency, 0)
    return True


def _leaves_a_hole(old: Contribution, new: Contribution) -> bool:
    """Whether other orders say which currencies are left, or which order is now the last."""
    return old.is_countable and (
        not new.is_countable or new.currency != old.currency or new.placed_at < old.placed_at
    )


def _take_away(document: Document, old: Contribution) -> None:
    if old.is_countable:
        document["orderCount"] -= 1
        document["spentByCurrency"][old.currency] -= old.amount


def _add(document: Document, added: Sequence[Contribution]) -> None:
    countable = [each for each in added if each.is_countable]
    if not countable:
        return
    spent = document["spentByCurrency"]
    for each in countable:
        spent[each.currency] = spent.get(each.currency, 0) + each.amount
    document["orderCount"] += len(countable)
    placed_at = timestamp_text(max([each.placed_at for each in countable]))
    document["lastOrderAt"] = max(document["lastOrderAt"] or placed_at, placed_at)
