"""The tables of the read model: what is shown now, and a batch's rows in one transaction.

Invariants: rows and checkpoint are written together or not at all, and only where neither the
checkpoint nor any of the customers has been changed by somebody else since they were read. Counters
that every writer touches come last in a transaction, so that writers hold each other up least.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from projections.checkpoint import CUSTOMERS, Followed, Move
from projections.columns import array, lines, transposed
from projections.customers import Incoming, Present
from projections.roll_ups import Contribution
from projections.rows import ALL_TAGS, ListingRow, Rows, TagRow
from projections.versions import statements
from service.errors import CustomersError
from service.events import OrderRecorded
from service.postgres import ConstraintViolated, Postgres, Transaction

DEFAULT_CURRENCY = "USD"
TAGS_REMEMBERED_MAX = 100_000
NUMBER_OF_ALL = 0  # in place of a tag, in `counter`


class CheckpointLost(CustomersError):
    """Another writer has moved a checkpoint that was to be moved: nothing was written."""


class Contended(CustomersError):
    """Another writer has changed a customer since it was read: nothing was written."""


_REFUSALS = {"checkpoint_unmoved": CheckpointLost, "customer_unmoved": Contended}


class _Asked(NamedTuple):
    customer_id: str
    tenant: str  # empty where the customer is asked for again, with another order
    order_id: str | None


class _Found(NamedTuple):
    version: int | None
    is_parked: bool | None
    document: str | None
    tenant_currency: str | None
    reference: str | None
    order_version: int | None
    currency: str
    amount: int
    is_countable: bool
    placed_at: datetime


class _HeldOrder(NamedTuple):
    customer_id: str
    order_id: str
    order_version: int
    currency: str
    amount: int
    is_countable: bool
    placed_at: datetime


class _Tag(NamedTuple):
    tenant: str
    name: str
    id: int


class Store:
    """Reads and writes the tables of "customers", in the version that `projection` has by then."""

    def __init__(
        self,
        postgres: Postgres,
        projection: Followed = CUSTOMERS,
        *,
        default_currency: str = DEFAULT_CURRENCY,
    ) -> None:
        self._postgres = postgres
        self._projection = projection
        self._default_currency = default_currency
        # Invariant: in a version, a tag's number never changes. At most TAGS_REMEMBERED_MAX and a
        # batch's.
        self._tag_ids: dict[tuple[int, str, str], int] = {}

    @property
    def version(self) -> int:
        return self._projection.version

    @property
    def _sql(self) -> Mapping[str, str]:
        return statements("customers.sql", self.version)

    async def present(self, groups: Mapping[str, Sequence[Incoming]]) -> dict[str, Present]:
        """What is shown of each customer, with the orders that the events speak of."""
        asked = [each for customer_id in sorted(groups) for each in _asked(groups[customer_id])]
        customer_ids, tenants, order_ids = transposed(asked, 3)
        found = await self._postgres.fetch(
            _Found, self._sql["present"], lines(customer_ids), lines(tenants), order_ids
        )
        presents: dict[str, Present] = {}
        orders: dict[str, Contribution] = {}
        for each, row in zip(asked, found, strict=True):
            if each.tenant:
                orders = {}
                presents[each.customer_id] = Present(
                    row.version or 0,
                    bool(row.is_parked),
                    row.document,
                    row.tenant_currency or self._default_currency,
                    orders,
                    reference=row.reference,
                )
            if each.order_id is not None and row.order_version is not None:
                orders[each.order_id] = Contribution(
                    row.order_version, row.currency, row.amount, row.is_countable, row.placed_at
                )
        return presents

    async def with_all_orders(self, presents: Mapping[str, Present]) -> dict[str, Present]:
        """The same, with all of the orders of each of the customers."""
        held: dict[str, dict[str, Contribution]] = {customer_id: {} for customer_id in presents}
        for row in await self._postgres.fetch(
            _HeldOrder, self._sql["all_orders"], sorted(presents)
        ):
            held[row.customer_id][row.order_id] = Contribution(*row[2:])
        return {
            customer_id: present._replace(orders=held[customer_id], has_all_orders=True)
            for customer_id, present in presents.items()
        }

    async def write(self, rows: Rows, moves: Sequence[Move]) -> None:
        """Write a batch. One round trip, unless a tag is new, or somebody is parked or deleted.

        Raises CheckpointLost, Contended, Unavailable; Corrupt where the database refuses a value.
        """
        await self.learn(rows)
        if rows.parked or rows.anonymous:
            async with self._postgres.transaction() as transaction:
                await self.write_in(transaction, rows, moves)
            return
        name, arguments = "apply", _basics(rows, moves)
        if rows.listings or rows.gone or any(rows.counts.values()):
            name = "apply_all"
            arguments += [*self._listing(rows), *self._counted(rows)]
        with _our_refusals():
            await self._postgres.execute(self._sql[name], *arguments)

    async def write_in(self, transaction: Transaction, rows: Rows, moves: Sequence[Move]) -> None:
        """The same, in a transaction of the caller's, who has learned the tags before it."""
        await self._apply(transaction, rows, moves)
        await transaction.execute(self._sql["apply_listing"], *self._listing(rows))
        if rows.parked:
            await self._park(transaction, rows)
        await transaction.execute(self._sql["apply_counts"], *self._counted(rows))

    async def probe(self) -> None:
        """Write nothing, everywhere. Raises Corrupt where it is not a value that is refused."""
        nothing = Rows()
        arguments = [*_basics(nothing, []), *self._listing(nothing), *self._counted(nothing)]
        await self._postgres.execute(self._sql["apply_all"], *arguments)
        async with self._postgres.transaction() as transaction:
            await self.write_in(transaction, nothing, [])

    async def _apply(self, transaction: Transaction, rows: Rows, moves: Sequence[Move]) -> None:
        """With deletions, the orders come after them: rows that are known move to the reference
        first, so that a newer state of the same order meets its row there."""
        others = replace(rows, orders=[]) if rows.anonymous else rows
        with _our_refusals():
            await transaction.execute(self._sql["apply"], *_basics(others, moves))
        if rows.anonymous:
            await transaction.execute(self._sql["anonymize"], *transposed(rows.anonymous, 4))
            await transaction.execute(self._sql["apply"], *_basics(Rows(orders=rows.orders), []))

    async def _park(self, transaction: Transaction, rows: Rows) -> None:
        """Nobody is parked at a version that is no longer the present one. Raises Contended."""
        await transaction.execute(self._sql["no_scans"])
        parked = await transaction.fetch(int, self._sql["park"], *transposed(rows.parked, 5))
        if parked != [len(rows.parked)]:
            raise Contended("another writer has changed a customer that was to be parked")

    async def learn(self, rows: Rows) -> None:
        """Know the numbers of all tags that are named, and number those that are new."""
        version = self.version
        named = sorted(rows.tags())
        unknown = [each for each in named if (version, *each) not in self._tag_ids]
        if not unknown:
            return
        if len(self._tag_ids) > TAGS_REMEMBERED_MAX:
            self._tag_ids.clear()
            unknown = named
        found = await self._postgres.fetch(_Tag, self._sql["tag_ids"], *transposed(unknown, 2))
        self._tag_ids.update(((version, row.tenant, row.name), row.id) for row in found)

    def number(self, tenant: str, tag: str) -> int:
        """Of a tag that was learned."""
        return NUMBER_OF_ALL if tag == ALL_TAGS else self._tag_ids[self.version, tenant, tag]

    def _listing(self, rows: Rows) -> list[Sequence[object]]:
        """The arguments of apply_listing."""
        return [
            *transposed([self._listed(row) for row in rows.listings], 13),
            *transposed([(*row[:3], array(row.grams)) for row in rows.searches], 4),
            rows.gone,
            *transposed([self._tagged(row) for row in rows.untagged], 3),
            *transposed([self._tagged(row) for row in rows.tagged], 3),
        ]

    def _listed(self, row: ListingRow) -> tuple[object, ...]:
        numbers = sorted(self.number(row.tenant, tag) for tag in row.tags)
        return (*row[:8], array(numbers), *row.activity[1:])

    def _tagged(self, row: TagRow) -> tuple[object, ...]:
        return self.number(row.tenant, row.tag), row.created_at, row.id

    def _counted(self, rows: Rows) -> list[Sequence[object]]:
        """The arguments of apply_counts."""
        counts = [
            (tenant, self.number(tenant, tag), is_active, change)
            for (tenant, tag, is_active), change in rows.counts.items()
            if change
        ]
        days = [(*key, change) for key, change in rows.days.items() if change]
        return [*transposed(sorted(counts), 4), *transposed(sorted(days), 3)]


def _asked(events: Sequence[Incoming]) -> Iterator[_Asked]:
    first = events[0]
    order_ids: dict[str | None, None] = {
        each.event.order.order_id: None for each in events if isinstance(each.event, OrderRecorded)
    }
    tenant = first.tenant
    for order_id in order_ids or {None: None}:
        yield _Asked(first.customer_id, tenant, order_id)
        tenant = ""


def _basics(rows: Rows, moves: Sequence[Move]) -> list[object]:
    """The arguments of apply."""
    moved = [
        (
            move.seen.partition,
            move.seen.position,
            move.seen.topic_offset,
            move.position,
            move.topic_offset,
            move.event_time,
        )
        for move in sorted(moves, key=lambda move: move.seen.partition)
    ]
    ids, tenants, old_versions, versions, positions, documents, items = transposed(
        rows.customers, 7
    )
    active_ids, *activities = transposed(rows.activities, 5)
    owners, order_ids, order_versions, currencies, *contributions, states = transposed(
        rows.orders, 8
    )
    return [
        moves[0].seen.epoch if moves else "",
        *transposed(moved, 6),
        *(lines(ids), lines(tenants), old_versions, versions, positions),
        *(lines(documents), lines(items)),
        *(lines(active_ids), *activities),
        *(lines(owners), order_ids, order_versions, lines(currencies), *contributions),
        lines(states),
    ]


@contextmanager
def _our_refusals() -> Iterator[None]:
    try:
        yield
    except ConstraintViolated as error:
        refusal = _REFUSALS.get(error.constraint)
        if refusal is None:
            raise
        raise refusal(str(error)) from error
