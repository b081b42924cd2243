"""Events per second of `customers rebuild`, from a log of its own that is as it would be in life.

Invariant: events are sealed, and spread over the log as they came in: all customers' first events,
then all their second ones. The first rebuild has only a version to compare with that nobody fed;
the second one is measured.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import islice
from uuid import UUID

import uuid_utils

from benchmarks.figures import REBUILD, Figure
from benchmarks.postgres_server import beside
from benchmarks.processes import Service
from benchmarks.seeding import SQL
from service.events import (
    CustomerChanges,
    CustomerCreated,
    CustomerUpdated,
    Event,
    Order,
    OrderRecorded,
    encode,
    encode_meta,
)
from service.identifiers import CustomerId
from service.master_key import KeySource
from service.postgres import Postgres
from service.vault import CustomerKey, Vault, blanked
from service.vault import place as place_of
from tests.support.histories import META
from tests.support.read_model_seed import START, SeededCustomer, generate

EVENTS_EACH = 5
CHUNK_CUSTOMERS = 20_000
PROCESSES = 2
TIMEOUT_SECONDS = 3_600.0
_EVENT = (
    *("position", "id", "tenant", "customer_id", "version", "type", "schema_version", "data"),
    *("meta", "recorded_at", "sealed"),
)


async def measure_rebuild(
    service: Service, customers: int, tell: Callable[[str], None]
) -> list[Figure]:
    async with beside(service.database_url) as url:
        other = service.beside(url)
        other.command("migrate")
        await _fill_log(other, customers)
        tell(f"in a log of its own: {customers * EVENTS_EACH:,} events of {customers:,} customers")
        other.command("rebuild", "--processes", str(PROCESSES))
        told = json.loads(other.command("rebuild", "--processes", str(PROCESSES), "--json"))
    assert told["isRead"], told
    filling, whole = told["eventsPerSecond"], told["events"] / told["seconds"]
    tell(f"rebuild: {filling:,.0f} events/s filled, {whole:,.0f} in all")
    return [
        Figure(
            "rebuild_filling", "rebuild, filling, 2 processes", filling, "events/s", target=REBUILD
        ),
        Figure("rebuild", "rebuild, all of it", whole, "events/s"),
    ]


async def _fill_log(service: Service, customers: int) -> None:
    key = KeySource(service.folder / "master.key").read()
    assert key is not None, "migrate makes it"
    log = _Log(Vault(key), customers)
    async with Postgres.connect(
        service.database_url, pool_size_max=1, command_timeout_seconds=TIMEOUT_SECONDS
    ) as postgres:
        for number in range(EVENTS_EACH):
            remaining = enumerate(generate(customers, small_tenants=False))
            while chunk := list(islice(remaining, CHUNK_CUSTOMERS)):
                rows = [log.row(number, place, customer) for place, customer in chunk]
                async with postgres.transaction() as transaction:
                    await transaction.copy_in("log", "event", _EVENT, rows)
        async with postgres.transaction() as transaction:
            columns = ("customer_id", "tenant", "version", "position", "first_position")
            await transaction.copy_in("log", "stream", columns, list(log.streams()))
            columns = ("customer_id", "wrapped")
            await transaction.copy_in("vault", "customer_key", columns, list(log.keys()))
            end = customers * EVENTS_EACH
            await transaction.execute(SQL["set_head"], end, START + timedelta(milliseconds=end))
        await postgres.execute("VACUUM (ANALYZE)")


class _Log:
    """The rows of the log, round after round."""

    def __init__(self, vault: Vault, customers: int) -> None:
        self._vault = vault
        self._customers = customers
        self._ids: list[CustomerId] = []
        self._keys: list[CustomerKey] = []
        self._meta = encode_meta(META)

    def row(self, number: int, at: int, customer: SeededCustomer) -> tuple[object, ...]:
        customer_id = CustomerId(customer.id)
        if number == 0:
            self._ids.append(customer_id)
            self._keys.append(CustomerKey.new())
        event, version = _event(number, at, customer), number + 1
        data = encode(event)
        sealed, blank = None, blanked(event.type, data)
        if blank is not None:
            where = place_of(customer_id, event.type, event.schema_version, version)
            sealed = self._keys[at].seal(data.encode(), where)
        position = number * self._customers + at + 1
        return (
            *(position, UUID(bytes=uuid_utils.uuid7().bytes), "default", customer_id, version),
            *(event.type, event.schema_version, blank or data, self._meta),
            *(START + timedelta(milliseconds=position), sealed),
        )

    def streams(self) -> Iterator[tuple[object, ...]]:
        for at, customer_id in enumerate(self._ids):
            last = (EVENTS_EACH - 1) * self._customers + at + 1
            yield customer_id, "default", EVENTS_EACH, last, at + 1

    def keys(self) -> Iterator[tuple[object, ...]]:
        for customer_id, key in zip(self._ids, self._keys, strict=True):
            yield customer_id, self._vault.wrap(customer_id, key)


def _event(number: int, at: int, customer: SeededCustomer) -> Event:
    """A creation, two orders, a change, and the second order's next version."""
    if number == 0:
        return CustomerCreated(
            email=customer.email,
            first_name=customer.first_name,
            last_name=customer.last_name,
            tags=customer.tags,
            active=customer.is_active,
        )
    if number == 3:
        return CustomerUpdated(changes=CustomerChanges(phone="+1-555-0123"))
    return OrderRecorded(
        order=Order(
            order_id=f"ord_{at}_{min(number, 2)}",
            order_version=2 if number == 4 else 1,
            status="paid" if number == 4 else "placed",
            currency="USD",
            total=500 + at * 7_919 % 30_000,
            placed_at=customer.updated_at,
        )
    )
