"""Fills the tables of a version, a range of customers after the other; several may at once.

Invariants: a range is written whole, in the transaction that says so, or not at all; who fills it
holds its row, so nobody else does. In memory are a page of events, their rows, and one customer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from projections.rebuild.binary_rows import encoded, integers
from projections.rebuild.build import SQL, Build
from projections.rows import ListingRow, Rows
from projections.store import DEFAULT_CURRENCY, Store
from projections.verification.replay import Replay
from projections.versions import schema_of
from service.errors import Corrupt
from service.event_log import EventLog, StoredEvent
from service.postgres import Postgres, Transaction
from service.vault import Vault

PAGE_EVENTS_MAX = 500  # read at once; 128 MB where each is as large as a body allows
COPY_BYTES_MAX = 4 * 1024 * 1024  # of events whose rows are held back, to be copied at once
ALL_VERSIONS = 2**62

_TABLES: Mapping[str, str] = {
    "customer": "id text, tenant text, version bigint, position bigint, document text, item text,"
    " is_stale boolean, anonymous_reference text",
    "profile": "id text, tenant text, created_at timestamptz, email text, email_key text,"
    " first_key text, last_key text, is_active boolean, tags ready",
    "activity": "id text, tenant text, total_spent bigint, order_count integer,"
    " updated_at timestamptz, last_order_at timestamptz, is_active boolean, tags ready",
    "search": "id text, tenant text, words text, grams ready",
    "tagged": "tag integer, created_at timestamptz, id text",
    "contribution": "customer_id text, order_id text, order_version bigint, currency text,"
    " amount bigint, is_countable boolean, placed_at timestamptz, order_state text",
    "anonymous": "reference text, tenant text, deleted_at timestamptz",
    "parked": "projection text, version integer, customer_id text, tenant text,"
    " stream_version bigint, position bigint, reason text",
}
"""Each table's columns, in the order of the rows, and how they are encoded."""


class _Range(NamedTuple):
    number: int
    after: str
    until: str


async def fill(
    postgres: Postgres,
    vault: Vault,
    build: Build,
    goes_on: Callable[[], bool],
    *,
    default_currency: str = DEFAULT_CURRENCY,
    page_events_max: int = PAGE_EVENTS_MAX,
) -> None:
    """Until no range is left that nobody fills, or `goes_on` says no, which is asked before each.

    Needs two connections. Raises Unavailable; Corrupt where the log contradicts itself, or the
    database refuses what it leads to.
    """
    currencies = dict(await postgres.fetch(_pair, SQL["currencies"]))
    store = Store(postgres, build.projection, default_currency=default_currency)
    filling = _Filling(store, vault, currencies, default_currency, page_events_max)
    while goes_on():
        async with postgres.transaction() as transaction:
            claimed = await transaction.fetch(_Range, SQL["claim"], build.version)
            if not claimed:
                return
            await transaction.execute(SQL["as_filler"])
            await filling.fill(transaction, claimed[0])
            await transaction.execute(SQL["done"], build.version, claimed[0].number)


class _Filling:
    """One process's share of it."""

    def __init__(
        self,
        store: Store,
        vault: Vault,
        currencies: Mapping[str, str],
        default_currency: str,
        page_events_max: int,
    ) -> None:
        self._store = store
        self._vault = vault
        self._currencies = currencies
        self._default_currency = default_currency
        self._page_events_max = page_events_max

    async def fill(self, transaction: Transaction, wanted: _Range) -> None:
        log, place = EventLog(transaction, self._vault), (wanted.after, ALL_VERSIONS)
        rows, weight, open_stream = Rows(), 0, None
        while page := await log.of_customers(place, wanted.until, limit=self._page_events_max):
            for customer_id, events in groupby(page, attrgetter("customer_id")):
                stream = list(events)
                if open_stream is None or open_stream.customer_id != customer_id:
                    _close(open_stream, rows)
                    open_stream = self._open(stream[0])
                open_stream.feed(stream)
            weight += sum(len(event.data) for event in page)
            if weight > COPY_BYTES_MAX:
                await self._copy(transaction, rows)
                rows, weight = Rows(), 0
            place = page[-1].customer_id, page[-1].version
        _close(open_stream, rows)
        await self._copy(transaction, rows)

    def _open(self, first: StoredEvent) -> Replay:
        currency = self._currencies.get(first.tenant, self._default_currency)
        return Replay(first.customer_id, first.tenant, currency, ALL_VERSIONS)

    async def _copy(self, transaction: Transaction, rows: Rows) -> None:
        await self._store.learn(rows)
        schema = schema_of(self._store.version)
        for table, values in self._tables(rows).items():
            if values:
                place = "projection" if table == "parked" else schema
                columns, types = _COLUMNS[table]
                await transaction.copy_in_encoded(place, table, columns, encoded(types, values))

    def _tables(self, rows: Rows) -> Mapping[str, Sequence[tuple[object, ...]]]:
        """Each table's rows."""
        parked = {row.customer_id for row in rows.parked}
        references = {row.customer_id: row.reference for row in rows.anonymous}
        customers = [
            (row.id, row.tenant, *row[3:], row.id in parked, references.get(row.id))
            for row in rows.customers
        ]
        listed = [(row, self._numbers(row)) for row in rows.listings]
        tagged = [
            (self._store.number(row.tenant, row.tag), row.created_at, row.id) for row in rows.tagged
        ]
        version = self._store.version
        return {
            "customer": customers,
            "profile": [(*row[:8], tags) for row, tags in listed],
            "activity": [_activity(row, tags) for row, tags in listed],
            "search": [(*row[:3], integers(row.grams)) for row in rows.searches],
            "tagged": tagged,
            "contribution": rows.orders,
            "anonymous": [row[1:] for row in rows.anonymous],
            "parked": [("customers", version, *row) for row in rows.parked],
        }

    def _numbers(self, row: ListingRow) -> bytes:
        return integers(sorted(self._store.number(row.tenant, tag) for tag in row.tags))


def _close(stream: Replay | None, rows: Rows) -> None:
    """The stream has ended: what is shown of it. Raises Corrupt where it has a hole."""
    if stream is None:
        return
    if stream.problem is not None and stream.stop is None:
        raise Corrupt(f"the log of {stream.customer_id}: {stream.problem}")
    rows.add(stream.change(), is_counted=False)


def _activity(row: ListingRow, tags: bytes) -> tuple[object, ...]:
    return row.id, row.tenant, *row.activity[1:], row.is_active, tags


def _columns(declared: str) -> tuple[list[str], list[str]]:
    """Names and types."""
    pairs = [each.split() for each in declared.split(",")]
    return [name for name, _ in pairs], [kind for _, kind in pairs]


def _pair(name: str, currency: str) -> tuple[str, str]:
    return name, currency


_COLUMNS = {table: _columns(declared) for table, declared in _TABLES.items()}
