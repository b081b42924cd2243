"""One customer's stream, folded from its beginning to the version that is shown; pure.

Invariant: the fold is the projection's own, so what it gives is what a rebuild would show. Whether
that fold is right is another question, which the sums in verification.sql put to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from projections.customers import Change, Incoming, Present, Stop, fold, incoming
from projections.documents import Document, listing, written
from projections.roll_ups import Contribution
from projections.rows import Rows
from service.event_log import StoredEvent
from service.events import CustomerDeleted, Order


class Replay:
    """Fed with the stream's events, in order; gives the rows that belong to them."""

    def __init__(self, customer_id: str, tenant: str, currency: str, until: int) -> None:
        self.customer_id = customer_id
        self._tenant = tenant
        self._currency = currency
        self._until = until
        self._position = 0
        self._updated_at: datetime | None = None
        self._document: Document | None = None
        self._whole: Change | None = None  # where one page held all that is shown
        self._orders: dict[str, tuple[Contribution, Order]] = {}
        self._deleted_at: datetime | None = None
        self.reference: str | None = None
        self.version = 0
        self.problem: str | None = None  # why it cannot be folded
        self.stop: Stop | None = (
            None  # the event that cannot be applied; who is gone later is hidden
        )
        self.next_position: int | None = None  # of the first event that is not shown
        self.deletion: tuple[int, int] | None = None  # its version and its position

    def feed(self, events: Sequence[StoredEvent]) -> None:
        shown: list[Incoming] = []
        for event in events:
            if event.type == CustomerDeleted.type:
                self.deletion = event.version, event.position
            if event.version <= self._until:
                shown.append(incoming(event))
            elif self.next_position is None:
                self.next_position = event.position
        if shown and (self.problem is None or self.stop is not None):
            self._take_in(shown)

    def rows(self) -> Rows:
        """What the tables should hold."""
        rows = Rows()
        rows.add(self.change())
        return rows

    def change(self) -> Change:
        """From nothing to what should be shown."""
        if self._whole is not None:
            return self._whole
        change = Change(self.customer_id, self._tenant, 0, self.version, self._position)
        change.updated_at, change.document = self._updated_at, self._document
        change.reference, change.deleted_at = self.reference, self._deleted_at
        change.after = None if self._document is None else listing(self._document)
        change.orders = self._orders
        change.stop = self.stop
        return change

    def _take_in(self, events: Sequence[Incoming]) -> None:
        is_first = self.version == 0 and self.stop is None
        text = None if self._document is None else written(self._document)[0]
        held = {order_id: each for order_id, (each, _) in self._orders.items()}
        present = Present(
            *(self.version, self.stop is not None, text, self._currency, held),
            reference=self.reference,
        )
        change = fold(events, present)
        if change.lacks_orders:
            change = fold(events, present._replace(has_all_orders=True))
        if change.stop is not None:
            self.stop = change.stop
            self.problem = f"version {change.stop.version} cannot be applied: {change.stop.reason}"
        elif self.stop is None and (change.has_gap or change.skipped):
            self.problem = f"what follows version {change.version} in the log is not the next"
        change.tenant = self._tenant
        self._whole = change if is_first else None
        self.version, self._document = change.version, change.document
        self.reference = change.reference
        self._orders |= change.orders
        self._deleted_at = change.deleted_at or self._deleted_at
        if change.updated_at is not None:
            self._position, self._updated_at = change.position, change.updated_at
