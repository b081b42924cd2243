"""States of customers in memory, so that one who is busy is not folded anew for every command.

Invariant: a state is of some moment, perhaps not the last: who decides on it lets the append find
out whether it is still the present one.
"""

from __future__ import annotations

from collections import OrderedDict

from service.customer import Customer
from service.identifiers import CustomerId

CACHED_CUSTOMERS_MAX = 10_000
CACHED_BYTES_MAX = 32 * 1024 * 1024  # of all states, by `_weight`; one of 67,000 orders as much


class StateCache:
    """The states that were used last. Invariant: at most CACHED_CUSTOMERS_MAX and _BYTES_MAX."""

    def __init__(self) -> None:
        # Invariant: the one used longest ago first.
        self._kept: OrderedDict[CustomerId, tuple[Customer, int]] = OrderedDict()
        self._bytes = 0

    def get(self, customer_id: CustomerId) -> Customer | None:
        kept = self._kept.get(customer_id)
        if kept is None:
            return None
        self._kept.move_to_end(customer_id)
        return kept[0]

    def keep(self, customer: Customer) -> None:
        """In place of an older one. What is too heavy by itself is not kept, and nobody goes for
        it: that customer is folded anew each time."""
        self._forget(customer.id)
        weight = _weight(customer)
        if customer.is_deleted or weight > CACHED_BYTES_MAX:
            return
        self._kept[customer.id] = customer, weight
        self._bytes += weight
        while len(self._kept) > CACHED_CUSTOMERS_MAX or self._bytes > CACHED_BYTES_MAX:
            self._forget(next(iter(self._kept)))

    def _forget(self, customer_id: CustomerId) -> None:
        _, weight = self._kept.pop(customer_id, (None, 0))
        self._bytes -= weight


def _weight(customer: Customer) -> int:
    """About how many bytes of memory a state takes; what has fields is taken at a usual size."""
    held = sum(100 + len(tag) for tag in customer.tags)
    for key, value in customer.metadata.items():
        held += 200 + len(key) + (len(value) if isinstance(value, str) else 0)
    return 1_000 + held + 2_000 * len(customer.addresses) + 500 * len(customer.orders)
