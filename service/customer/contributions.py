"""What a customer's orders add to count and spend: an immutable map by order id, with its sums.

Invariant: recording an order gives a new map, which shares with the old one all but the few nodes
on the way to that order. So a fold takes about the same for each of many orders, and whoever holds
an older state sees it unchanged. The sums come along, so showing a customer visits no order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, TypeAlias

from typing_extensions import override

LEAF_ORDERS_MAX = 16  # more make a branch
_BITS = 4  # of an order id's hash; they choose one of a branch's children
_CHILDREN = 1 << _BITS
_DEPTH_MAX = 12  # below, a leaf grows; orders that share so many bits of a keyed hash do not occur


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one order adds: minor units of its currency, and one to the count if countable."""

    currency: str
    amount: int
    is_countable: bool
    placed_at: datetime


class Spend(NamedTuple):
    """What the countable orders of one currency add up to."""

    orders: int = 0
    amount: int = 0


class _Leaf(NamedTuple):
    held: Mapping[str, Contribution]
    last_at: datetime | None  # of the countable ones, as in a branch


class _Branch(NamedTuple):
    children: tuple[_Node, ...]
    last_at: datetime | None


_Node: TypeAlias = "_Leaf | _Branch"
_EMPTY = _Leaf({}, None)


class Contributions(Mapping[str, Contribution]):
    """By order id. Only `with_order` makes one that holds something."""

    __slots__ = ("_root", "_size", "_spent")

    def __init__(self) -> None:
        self._root: _Node = _EMPTY
        self._size = 0
        self._spent: Mapping[str, Spend] = {}  # only currencies that have countable orders

    def with_order(self, order_id: str, contribution: Contribution) -> Contributions:
        """The same, but with this as what the order adds."""
        old = self.get(order_id)
        after = Contributions()
        after._root = _with(self._root, 0, hash(order_id), order_id, contribution)
        after._size = self._size + (old is None)
        after._spent = _moved(self._spent, old, contribution)
        return after

    @property
    def order_count(self) -> int:
        """How many are countable."""
        return sum([spend.orders for spend in self._spent.values()])

    @property
    def spent_by_currency(self) -> dict[str, int]:
        """For each currency that has countable orders, in the order of the codes."""
        return {currency: spend.amount for currency, spend in sorted(self._spent.items())}

    @property
    def last_order_at(self) -> datetime | None:
        """When the latest countable order was placed."""
        return self._root.last_at

    @override
    def __getitem__(self, order_id: str) -> Contribution:
        node, digits = self._root, hash(order_id)
        while isinstance(node, _Branch):
            node, digits = node.children[digits % _CHILDREN], digits >> _BITS
        return node.held[order_id]

    @override
    def __iter__(self) -> Iterator[str]:
        """In no particular order."""
        nodes = [self._root]
        while nodes:
            node = nodes.pop()
            if isinstance(node, _Branch):
                nodes += node.children
            else:
                yield from node.held

    @override
    def __len__(self) -> int:
        return self._size


NO_ORDERS = Contributions()


def _with(node: _Node, depth: int, digits: int, order_id: str, contribution: Contribution) -> _Node:
    """`digits`: what is left of the order id's hash at this depth."""
    if isinstance(node, _Leaf):
        return _grown({**node.held, order_id: contribution}, depth)
    place = digits % _CHILDREN
    child = _with(node.children[place], depth + 1, digits >> _BITS, order_id, contribution)
    return _branch((*node.children[:place], child, *node.children[place + 1 :]))


def _grown(held: Mapping[str, Contribution], depth: int) -> _Node:
    if len(held) <= LEAF_ORDERS_MAX or depth == _DEPTH_MAX:
        countable = (each.placed_at for each in held.values() if each.is_countable)
        return _Leaf(held, max(countable, default=None))
    parts: list[dict[str, Contribution]] = [{} for _ in range(_CHILDREN)]
    for order_id, contribution in held.items():
        parts[(hash(order_id) >> _BITS * depth) % _CHILDREN][order_id] = contribution
    return _branch(tuple(_grown(part, depth + 1) for part in parts))


def _branch(children: tuple[_Node, ...]) -> _Branch:
    times = (child.last_at for child in children if child.last_at is not None)
    return _Branch(children, max(times, default=None))


def _moved(
    spent: Mapping[str, Spend], old: Contribution | None, new: Contribution
) -> Mapping[str, Spend]:
    moved = dict(spent)
    for contribution, sign in ((old, -1), (new, 1)):
        if contribution is not None and contribution.is_countable:
            held = moved.get(contribution.currency, Spend())
            amount = held.amount + sign * contribution.amount
            moved[contribution.currency] = Spend(held.orders + sign, amount)
    return {currency: spend for currency, spend in moved.items() if spend.orders}
