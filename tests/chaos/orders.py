"""A shop's orders: how they change, and what they add up to.

Invariant: what is expected follows from the last version of each order that was sent, and from the
rules in docs/guarantees.md, "Roll-ups"; nothing of the service takes part in it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TypeAlias

Order: TypeAlias = dict[str, object]

STATUSES = ("pending", "placed", "paid", "paid", "completed", "cancelled", "failed")
CURRENCIES = ("USD", "USD", "USD", "EUR")
COUNTED = frozenset({"placed", "paid", "completed"})
OWN_CURRENCY = "USD"
OPEN_ORDERS_MAX = 3_000  # the ones that still change
TESTS, REFUNDS, CAPTURES = 0.03, 0.3, 0.5
NEW, REPEATED, STALE, HELD_BACK, UNKNOWN = 0.2, 0.06, 0.06, 0.06, 0.01


@dataclass
class RollUp:
    """What a customer's orders add up to."""

    order_count: int = 0
    spent: Counter[str] = field(default_factory=Counter)  # by currency; one of 0 where it counts

    def add(self, order: Mapping[str, object]) -> None:
        if order["test"] or order["status"] not in COUNTED:
            return
        received = number(order["captured"] if "captured" in order else order["total"])
        self.order_count += 1
        self.spent[str(order["currency"])] += max(0, received - number(order.get("refunded", 0)))

    @property
    def shown(self) -> dict[str, object]:
        """The fields of a customer's document."""
        return {
            "orderCount": self.order_count,
            "totalSpent": self.spent[OWN_CURRENCY],
            "spentByCurrency": {name: self.spent[name] for name in sorted(self.spent)},
        }


def by_customer(orders: Iterable[Mapping[str, object]]) -> dict[str, RollUp]:
    found: dict[str, RollUp] = defaultdict(RollUp)
    for order in orders:
        found[str(order["customerId"])].add(order)
    return found


def totals(orders: Iterable[Mapping[str, object]]) -> dict[str, tuple[int, int]]:
    """Of the whole store, by currency: countable orders, and spend."""
    counted: Counter[str] = Counter()
    spent: Counter[str] = Counter()
    for order in orders:
        one = RollUp()
        one.add(order)
        counted[str(order["currency"])] += one.order_count
        spent += one.spent
    return {name: (counted[name], spent[name]) for name in sorted(counted) if counted[name]}


def number(value: object) -> int:
    assert isinstance(value, int)
    return value


class Shop:
    """Makes messages, and remembers the last version of each order: the ledger."""

    def __init__(self, choose: Random, customers: Sequence[str], name: str) -> None:
        self._choose = choose
        self._customers = customers  # the shop's own, for ever
        self._name = name
        self.met: list[str] = []  # others, as they were found in the list
        self.last: dict[str, Order] = {}
        self.unknown: dict[str, Order] = {}  # of customers that there are not
        self._open: list[str] = []
        self._before: dict[str, Order] = {}  # the version before the last one, of open orders
        self._held: list[Order] = []  # overtaken, and sent later
        self._number = 0

    def messages(self, count: int) -> Iterator[Order]:
        """At least so many, in the order in which they are to be sent."""
        made = 0
        while made < count:
            for order in self._next():
                made += 1
                yield order

    def _next(self) -> Iterator[Order]:
        choose = self._choose
        chance = choose.random()
        if chance < UNKNOWN:
            yield self._new(self.unknown, f"cust_{choose.getrandbits(60):x}")
        elif chance < NEW or not self._open:
            order = self._new(self.last, self._someone())
            self._remember_open(str(order["orderId"]))
            yield order
        elif chance < NEW + REPEATED:
            yield self.last[choose.choice(self._open)]
        elif chance < NEW + REPEATED + STALE and self._before:
            yield self._before[choose.choice(list(self._before)[-50:])]
        else:
            yield from self._change(choose.choice(self._open))

    def _change(self, order_id: str) -> Iterator[Order]:
        """Now and then the version before arrives later than this one, or never."""
        order = self.last[order_id]
        changed = self._filled(order_id, number(order["orderVersion"]) + 1, order["customerId"])
        self.last[order_id] = changed
        if self._choose.random() < HELD_BACK:
            self._held.append(changed)
            newer = self._filled(order_id, number(changed["orderVersion"]) + 1, order["customerId"])
            self.last[order_id], changed = newer, newer
        self._before[order_id] = order
        yield changed
        if self._held and self._choose.random() < HELD_BACK:
            yield self._held.pop(0)

    def _new(self, into: dict[str, Order], customer_id: str) -> Order:
        self._number += 1
        order_id = f"ord_{self._name}_{self._number}"
        into[order_id] = self._filled(order_id, 1, customer_id)
        return into[order_id]

    def _someone(self) -> str:
        if self.met and self._choose.random() < 0.1:
            return self._choose.choice(self.met)
        return self._choose.choice(self._customers)

    def _remember_open(self, order_id: str) -> None:
        self._open.append(order_id)
        if len(self._open) > OPEN_ORDERS_MAX:
            closed = self._open.pop(self._choose.randrange(len(self._open)))
            self._before.pop(closed, None)

    def _filled(self, order_id: str, version: int, customer_id: object) -> Order:
        choose = self._choose
        order: Order = {
            "orderId": order_id,
            "orderVersion": version,
            "customerId": customer_id,
            "status": choose.choice(STATUSES),
            "currency": choose.choice(CURRENCIES) if version == 1 else self._currency(order_id),
            "total": choose.randrange(100_000),
            "placedAt": "2026-01-01T00:00:00Z",
            "test": choose.random() < TESTS,
        }
        if choose.random() < CAPTURES:
            order["captured"] = choose.randrange(100_000)
        if choose.random() < REFUNDS:
            order["refunded"] = choose.randrange(100_000)
        return order

    def _currency(self, order_id: str) -> object:
        return self.last[order_id]["currency"]
