"""Customers that are awkward to list, and how they come into the read model: by their events.

Invariant: they are written by the projection itself, so what a list shows of them proves that the
writing and the reading side mean the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random
from uuid import UUID

from projections.applier import Applier
from projections.checkpoint import LOG_PARTITION, Checkpoints, Move
from projections.observing import NoMetrics
from projections.store import Store
from service.event_log import EventLog, StoredEvent
from service.events import (
    CustomerChanges,
    CustomerCreated,
    CustomerDeactivated,
    CustomerDeleted,
    CustomerReactivated,
    CustomerTagged,
    CustomerUntagged,
    CustomerUpdated,
    Event,
    OrderRecorded,
    encode,
    encode_meta,
)
from service.postgres import Postgres
from tests.support.histories import META, an_order
from tests.support.projections import CURRENCIES
from tests.support.read_model_seed import SeededCustomer
from tests.support.vaults import VAULT

TENANTS = tuple(CURRENCIES)
DAY = datetime(2024, 3, 10, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)

# Alike but for case, accents or width; with what means something to LIKE, SQL, JSON or a cursor;
# beyond the lengths that are compared at once.
NAMES = (
    *("Jane", "jane", "JANE", "Jané", "Janet", "Zoë", "Zoe", "ZOE\u0308", "Ångström", "angstrom"),
    *("Straße", "Strasse", "ﬁnch", "finch", "İstanbul", "Ⅷ", "李", "李小龍", "Ωmega", "ωMEGA"),
    *("100%", "100", "a_b", "a%b", "a\\b", "axb", 'O\'Hara "JJ"', "x\x1fy", "a\x01b", "a b"),
    *("😀", "😀😀", "e\u0301", "\U0010ffff", "'; --", "{0}", ":key_1", "$1", "¨", "\ufb03"),
    *("x" * 256, "x" * 255 + "y", "É" * 140 + "a", "é" * 140 + "b", "😀" * 148, "ﷺ" * 10),
)
TAGS = ("VIP", "vip", "Vip", "Straße", "STRASSE", "early-adopter", "é", "%", "a b", "rare")
TIMES = tuple(
    DAY + timedelta(days=days) + part
    for days in (-400, -1, 0, 1, 2, 30)
    for part in (
        timedelta(0),
        MILLISECOND,
        timedelta(hours=8),
        timedelta(days=1) - MILLISECOND,
    )
)
BATCH_EVENTS = 50
AMOUNTS = (0, 0, 0, 1, 999, 1000, 1000, 2**31, 2**53)


def awkward_customers(number: int, *, seed: int) -> list[SeededCustomer]:
    """So many, two in three of them of the first tenant; few values, so that many are equal."""
    choose = Random(seed)
    return [_customer(choose, each) for each in range(number)]


def _customer(choose: Random, number: int) -> SeededCustomer:
    created = choose.choice(TIMES)
    updated = choose.choice((created, created, created + MILLISECOND, max(TIMES)))
    orders = choose.choice((0, 0, 1, 2, 3))
    spellings = {tag.casefold(): tag for tag in choose.sample(TAGS[:-1], choose.randrange(4))}
    if number % 50 == 0:
        spellings["rare"] = "rare"
    return SeededCustomer(
        # Ids come in another order than the customers, and than their times.
        id=f"cust_{choose.randrange(16**8):08x}{number:04}",
        tenant=TENANTS[number % 3 == 0],
        email=_email(choose, number),
        first_name=choose.choice((None, *NAMES)) if choose.random() < 0.9 else None,
        last_name=choose.choice(NAMES) if choose.random() < 0.6 else None,
        created_at=created,
        updated_at=updated,
        tags=tuple(spellings.values()),
        is_active=choose.random() < 0.8,
        order_count=orders,
        total_spent=choose.choice(AMOUNTS) if orders else 0,
        last_order_at=choose.choice(TIMES) if orders else None,
    )


def _email(choose: Random, number: int) -> str:
    local = choose.choice(("jane", "zoë", "zoe", "a_b", "a%b", "o'hara", "l" * 60, "ﬁ", "ab"))
    domain = choose.choice(("example.com", "d" * 60 + ".example.com", "straße.example.com"))
    return f"{local}{number // 2}.{number % 2}@{domain}"


def history(customer: SeededCustomer, choose: Random) -> Iterator[tuple[datetime, Event]]:
    """Events that end in this customer, sometimes by way of quite another one."""
    is_changed = choose.random() < 0.4 and customer.updated_at > customer.created_at
    first = _as_it_was(customer, choose) if is_changed else customer
    yield (
        customer.created_at,
        CustomerCreated(
            email=first.email,
            first_name=first.first_name,
            last_name=first.last_name,
            tags=first.tags,
            active=first.is_active,
        ),
    )
    if is_changed:
        yield from ((customer.updated_at, event) for event in _changes(first, customer))
    for number in range(customer.order_count):
        order = an_order(
            f"ord_{customer.id}_{number}",
            1,
            total=customer.total_spent if number == 0 else 0,
            currency=CURRENCIES[customer.tenant],
            placed_at=customer.last_order_at or customer.created_at,
        )
        yield customer.updated_at, OrderRecorded(order=order)
    if customer.updated_at > customer.created_at:
        yield customer.updated_at, CustomerUpdated(changes=CustomerChanges(phone="+1-555-0123"))


def _as_it_was(customer: SeededCustomer, choose: Random) -> SeededCustomer:
    return replace(
        customer,
        email=f"formerly-{customer.email}",
        first_name=choose.choice((None, *NAMES)),
        last_name=choose.choice((None, *NAMES)),
        tags=("formerly",),
        is_active=choose.random() < 0.5,
    )


def _changes(before: SeededCustomer, after: SeededCustomer) -> Iterator[Event]:
    names = {"first_name": after.first_name, "last_name": after.last_name}
    yield CustomerUpdated(changes=CustomerChanges(email=after.email, **names))
    if after.tags:
        yield CustomerTagged(tags=after.tags)
    yield CustomerUntagged(tags=("formerly",))
    if before.is_active != after.is_active:
        yield CustomerReactivated() if after.is_active else CustomerDeactivated()


class ListedCustomers:
    """Writes customers into the read model, as the projection's worker does, in small batches."""

    def __init__(self, postgres: Postgres, *, seed: int = 1) -> None:
        self._postgres = postgres
        self._choose = Random(seed)
        self._positions = count(1)
        self._versions: dict[str, int] = {}

    async def add_tenants(self) -> None:
        for tenant, currency in CURRENCIES.items():
            await self._postgres.execute(
                "INSERT INTO access.tenant (name, currency) VALUES ($1, $2)", tenant, currency
            )

    async def write(self, customers: Iterable[SeededCustomer]) -> None:
        """Let them be created; beside each tenth, one more that is deleted again."""
        batch: list[StoredEvent] = []
        for number, customer in enumerate(customers):
            events = list(history(customer, self._choose))
            batch += self._stored(customer.tenant, customer.id, events)
            if number % 10 == 0:
                gone = [events[0], (customer.updated_at, CustomerDeleted())]
                batch += self._stored(customer.tenant, f"{customer.id}x", gone)
            if len(batch) >= BATCH_EVENTS:
                await self._apply(batch)
                batch = []
        await self._apply(batch)

    async def delete(self, customer: SeededCustomer) -> None:
        deleted = [(customer.updated_at, CustomerDeleted())]
        await self._apply(self._stored(customer.tenant, customer.id, deleted))

    def _stored(
        self, tenant: str, customer_id: str, events: Iterable[tuple[datetime, Event]]
    ) -> list[StoredEvent]:
        """The next events of a customer, as they would lie in the log."""
        stored = []
        for time, event in events:
            version = self._versions[customer_id] = self._versions.get(customer_id, 0) + 1
            position = next(self._positions)
            place = (position, UUID(int=position), tenant, customer_id, version)
            data = (event.type, event.schema_version, encode(event), encode_meta(META))
            stored.append(StoredEvent(*place, *data, time))
        return stored

    async def _apply(self, batch: Sequence[StoredEvent]) -> None:
        if not batch:
            return
        checkpoints, log = Checkpoints(self._postgres), EventLog(self._postgres, VAULT)
        epoch = (await log.head()).epoch
        place = (await checkpoints.take_over({LOG_PARTITION}, epoch))[LOG_PARTITION]
        move = Move(place, batch[-1].position, 0, batch[-1].time)
        await Applier(Store(self._postgres), log, NoMetrics()).apply(batch, [move])
