"""Fills the read model in bulk, as the projection would have left it, without any events.

Invariant: every table agrees with every other one, and `log.stream` with `customer.version`, so
lists and gets behave as in life; only the events themselves are missing from the log.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import islice

from service.documents import CustomerDocument, list_item
from service.events import Version
from service.folding import fold, grams, search_words, sort_key, tag_key
from service.identifiers import CustomerId
from service.postgres import Postgres, Transaction, load_statements

SQL = load_statements("tests.support", "read_model_seed.sql")

CHUNK_CUSTOMERS = 20_000
TIMEOUT_SECONDS = 1_800.0
SCHEMA = "customers_v1"
COLUMNS = {
    "customer": ("id", "tenant", "version", "position", "document", "item"),
    "profile": (
        *("id", "tenant", "created_at", "email", "email_key", "first_key", "last_key"),
        *("is_active", "tags"),
    ),
    "activity": (
        *("id", "tenant", "total_spent", "order_count", "updated_at", "last_order_at"),
        *("is_active", "tags"),
    ),
    "tagged": ("tag", "created_at", "id"),
    "search": ("id", "tenant", "words", "grams"),
}
STREAM_COLUMNS = ("customer_id", "tenant", "version", "position", "first_position")


@dataclass(frozen=True, slots=True)
class SeededCustomer:
    """What the read model is to show of one living customer. Times in whole milliseconds."""

    id: str
    email: str  # lower-cased whole
    first_name: str | None
    last_name: str | None
    created_at: datetime
    updated_at: datetime
    tenant: str = "default"
    tags: tuple[str, ...] = ()
    is_active: bool = True
    order_count: int = 0
    total_spent: int = 0
    last_order_at: datetime | None = None

    def document(self) -> CustomerDocument:
        return CustomerDocument.model_construct(
            id=CustomerId(self.id),
            email=self.email,
            first_name=self.first_name,
            last_name=self.last_name,
            phone=None,
            metadata={},
            addresses=(),
            order_count=self.order_count,
            total_spent=self.total_spent,
            spent_by_currency={"USD": self.total_spent} if self.order_count else {},
            last_order_at=self.last_order_at,
            tags=self.tags,
            active=self.is_active,
            created_at=self.created_at,
            updated_at=self.updated_at,
            version=Version(1 + self.order_count),
        )


class _Rows:
    """Rows of one chunk by table, and what has to be counted over all chunks."""

    def __init__(self) -> None:
        self.tag_ids: dict[tuple[str, str], int] = {}
        self.counts: Counter[tuple[str, int, bool]] = Counter()
        self.days: Counter[tuple[str, date]] = Counter()
        self.position = 0
        self.rows: dict[str, list[tuple[object, ...]]] = {name: [] for name in COLUMNS}
        self.streams: list[tuple[object, ...]] = []

    def add(self, customer: SeededCustomer) -> None:
        seeded, tenant = customer, customer.tenant
        tags = sorted(self._tag(tenant, tag) for tag in seeded.tags)
        document = seeded.document()
        first_position, self.position = self.position + 1, self.position + document.version
        place = (seeded.id, tenant, document.version, self.position)
        words = search_words(seeded.first_name, seeded.last_name, seeded.email)
        rows = self.rows
        rows["customer"].append(
            (*place, document.json_bytes().decode(), list_item(document).json_bytes().decode())
        )
        keys = [None if name is None else sort_key(name) for name in _names(seeded)]
        rows["profile"].append(
            (seeded.id, tenant, seeded.created_at, seeded.email, *keys, seeded.is_active, tags)
        )
        rows["activity"].append(
            (
                *(seeded.id, tenant, seeded.total_spent, seeded.order_count, seeded.updated_at),
                *(seeded.last_order_at, seeded.is_active, tags),
            )
        )
        rows["tagged"] += [(tag, seeded.created_at, seeded.id) for tag in tags]
        rows["search"].append((seeded.id, tenant, words, sorted(grams(words, tenant))))
        self.streams.append((*place, first_position))
        self.days[tenant, seeded.created_at.astimezone(UTC).date()] += 1
        for tag in (0, *tags):
            self.counts[tenant, tag, seeded.is_active] += 1

    def take(self) -> dict[str, list[tuple[object, ...]]]:
        taken, self.rows = self.rows, {name: [] for name in COLUMNS}
        return taken

    def _tag(self, tenant: str, tag: str) -> int:
        return self.tag_ids.setdefault((tenant, tag_key(tag)), len(self.tag_ids) + 1)


def _names(customer: SeededCustomer) -> tuple[str | None, ...]:
    return (customer.email, customer.first_name, customer.last_name)


async def seed_read_model(
    database_url: str, customers: Iterable[SeededCustomer], *, is_large: bool = True
) -> int:
    """Let the read model show these customers and no others; how many they are.

    `is_large`: indexes are built afterwards, and the tables vacuumed and analyzed.
    """
    rows = _Rows()
    count = 0
    async with Postgres.connect(
        database_url, pool_size_max=1, command_timeout_seconds=TIMEOUT_SECONDS
    ) as postgres:
        await postgres.execute(SQL["clear"])
        indexes = await postgres.fetch(str, SQL["index_definitions"], SCHEMA) if is_large else []
        if is_large:
            await postgres.execute(SQL["drop_indexes"])
        for chunk in _chunks(customers):
            for customer in chunk:
                rows.add(customer)
            async with postgres.transaction() as transaction:
                await _copy(transaction, rows)
            count += len(chunk)
        async with postgres.transaction() as transaction:
            for definition in indexes:
                await transaction.execute(definition)
            await _finish(transaction, rows)
        if is_large:
            await postgres.execute(SQL["vacuum"])
    return count


def _chunks(customers: Iterable[SeededCustomer]) -> Iterator[Sequence[SeededCustomer]]:
    remaining = iter(customers)
    while chunk := list(islice(remaining, CHUNK_CUSTOMERS)):
        yield chunk


async def _copy(transaction: Transaction, rows: _Rows) -> None:
    for table, taken in rows.take().items():
        await transaction.copy_in(SCHEMA, table, COLUMNS[table], taken)
    await transaction.copy_in("log", "stream", STREAM_COLUMNS, rows.streams)
    rows.streams = []


async def _finish(transaction: Transaction, rows: _Rows) -> None:
    """Tags, counters, and then how far it all goes: nobody believes rows before the checkpoint."""
    tenants = [tenant for tenant, _ in rows.tag_ids]
    names = [name for _, name in rows.tag_ids]
    await transaction.execute(SQL["tags"], list(rows.tag_ids.values()), tenants, names)
    counters = [(*key, count) for key, count in rows.counts.items()]
    columns = ("tenant", "tag", "is_active", "count")
    await transaction.copy_in(SCHEMA, "counter", columns, counters)
    days = [(*key, count) for key, count in rows.days.items()]
    await transaction.copy_in(SCHEMA, "day", ("tenant", "day", "count"), days)
    await transaction.execute(SQL["head"], rows.position)
    await transaction.execute(SQL["checkpoint"])


_FIRST_NAMES = (
    *("Jane", "Zoë", "José", "Anna", "Björn", "Chloé", "Dmitri", "Émile", "Fatima", "Grace"),
    *("Hiroshi", "Ingrid", "Jürgen", "Kofi", "Łukasz", "Maria", "Noël", "Olga", "Priya", "Quentin"),
    *("Rosa", "Søren", "Tomáš", "Uma", "Víctor", "Wanda", "Xavier", "Yara", "Zainab", "Ahmed"),
)
_SYLLABLES = (
    *("an", "ber", "cor", "dal", "el", "fors", "gard", "hol", "in", "jan", "kov", "lin", "mar"),
    *("nor", "os", "pet", "quin", "ros", "sten", "tor", "ul", "vik", "wal", "xen", "yor", "zim"),
)
_ENDINGS = ("son", "sen", "berg", "ez", "ini", "ski", "ström", "mann", "er", "é")
START = datetime(2022, 1, 1, tzinfo=UTC)
SPAN_DAYS = 1_200
TAGS = ("VIP", *(f"Segment {number}" for number in range(1, 100)))
VIP_SHARE = 0.1
SMALL_TENANTS = 40
SMALL_TENANT_CUSTOMERS = 100


def generate(count: int, *, seed: int = 1, small_tenants: bool = True) -> Iterator[SeededCustomer]:
    """`count` customers of tenant `default`, then 100 of each of 40 small tenants.

    "VIP" is on a tenth of them, the other 99 tags on shares from 5 % down to a twentieth of that.
    """
    source = random.Random(seed)
    yield from _tenant("default", range(count), source)
    for number in range(SMALL_TENANTS if small_tenants else 0):
        first = count + number * SMALL_TENANT_CUSTOMERS
        numbers = range(first, first + SMALL_TENANT_CUSTOMERS)
        yield from _tenant(f"small-{number:02}", numbers, source)


def _tenant(tenant: str, numbers: range, source: random.Random) -> Iterator[SeededCustomer]:
    step = timedelta(days=SPAN_DAYS) / max(len(numbers), 1)
    for number in numbers:
        created = _milliseconds(START + (number - numbers.start) * step)
        yield _customer(tenant, number, created, source)


def _customer(tenant: str, number: int, created: datetime, source: random.Random) -> SeededCustomer:
    first = source.choice(_FIRST_NAMES) if source.random() < 0.97 else None
    last = "".join(source.choices(_SYLLABLES, k=2)).title() + source.choice(_ENDINGS)
    local = fold(f"{first or 'info'}.{last}")
    orders = 0 if source.random() < 0.32 else min(60, 1 + int(source.expovariate(0.3)))
    updated = _milliseconds(created + timedelta(days=source.random() * 200))
    milliseconds = int(created.timestamp() * 1000)
    return SeededCustomer(
        id=f"cust_0{milliseconds:012x}{number:013x}",
        tenant=tenant,
        email=f"{local}{number}@mail{source.randrange(50)}.example.com",
        first_name=first,
        last_name=last,
        created_at=created,
        updated_at=updated,
        tags=_tags(source),
        is_active=source.random() < 0.95,
        order_count=orders,
        total_spent=sum(source.randrange(500, 30_000) for _ in range(orders)),
        last_order_at=updated if orders else None,
    )


def _tags(source: random.Random) -> tuple[str, ...]:
    vip = TAGS[:1] if source.random() < VIP_SHARE else ()
    others = (1 + int(99 * source.random() ** 2) for _ in range(source.randrange(0, 4)))
    return (*vip, *dict.fromkeys(TAGS[number] for number in others))


def _milliseconds(time: datetime) -> datetime:
    return time.replace(microsecond=time.microsecond // 1000 * 1000)
