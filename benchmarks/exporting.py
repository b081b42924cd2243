"""Events per second from the log into files, by `customers export`.

Invariant: the log is filled in bulk with what appending would have left of it: three of ten events
are sealed, each under its customer's own key, and every event has a time of its own. A rate is the
command's own, from its first look at the folder until all is on the disk; each process that it
starts is in it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count, islice
from typing import NamedTuple

from benchmarks.figures import EXPORT, Figure
from benchmarks.processes import Service
from benchmarks.seeding import SQL, Head
from service.events import (
    AddressAdded,
    CustomerChanges,
    CustomerCreated,
    CustomerTagged,
    CustomerUpdated,
    Event,
    Order,
    OrderRecorded,
    encode,
    encode_meta,
)
from service.identifiers import new_customer_id, new_event_key
from service.master_key import KeySource, require_master_key
from service.postgres import Postgres
from service.vault import CustomerKey, Vault, blanked, place
from tests.support.histories import META, an_address

AT_ONCE_CUSTOMERS = 500  # whose events come between each other's
ORDERS = 3  # of each, recorded twice
SECONDS_MAX = 300.0
_BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
_COLUMNS = (
    *("position", "id", "tenant", "customer_id", "version", "type", "schema_version"),
    *("data", "sealed", "meta", "recorded_at"),
)
_WAYS = (
    ("jsonl", "export, JSON lines", ("--format", "jsonl")),
    ("blank", "export, JSON lines without personal data", ("--without-personal-data",)),
    ("parquet", "export, Parquet", ("--format", "parquet")),
)


class _Customer(NamedTuple):
    id: str
    key: CustomerKey


async def measure_export(
    service: Service, events: int, tell: Callable[[str], None]
) -> list[Figure]:
    first = await _fill(service, events)
    tell(f"in the log, for the export: {events:,} events")
    figures: list[Figure] = []
    for name, title, options in _WAYS:
        folder = service.folder / f"export-{name}"
        told = json.loads(
            service.command("export", str(folder), "--from", str(first), "--json", *options)
        )
        assert told["events"] == events
        shutil.rmtree(folder)
        rate = events / told["seconds"]
        target = EXPORT if name == "jsonl" else None
        figures.append(Figure(f"export_{name}", title, rate, "events/s", target=target))
        tell(f"{title}: {rate:,.0f} events/s, {told['bytes'] / events:,.0f} bytes each")
    return figures


async def _fill(service: Service, events: int) -> int:
    """The first position. What reads a stream would not find these: only the log has them."""
    vault = Vault(require_master_key(KeySource(service.folder / "master.key")))
    async with Postgres.connect(
        service.database_url, command_timeout_seconds=SECONDS_MAX
    ) as postgres:
        head = await postgres.fetch_one(Head, SQL["head"])
        assert head is not None
        positions = count(head.position + 1)
        left = events
        while left > 0:
            customers = [
                _Customer(new_customer_id(), CustomerKey.new()) for _ in range(AT_ONCE_CUSTOMERS)
            ]
            rows = list(islice(_rows(customers, positions), left))
            keys = [(each.id, vault.wrap(each.id, each.key)) for each in customers]
            async with postgres.transaction() as transaction:
                await transaction.copy_in("vault", "customer_key", ("customer_id", "wrapped"), keys)
                await transaction.copy_in("log", "event", _COLUMNS, rows)
            left -= len(rows)
        await postgres.execute(SQL["head_moves"], events)
        await postgres.execute(SQL["analyze_log"])
    return head.position + 1


def _rows(customers: list[_Customer], positions: Iterator[int]) -> Iterator[tuple[object, ...]]:
    """What happens to each of them, one after the other, in rounds."""
    meta = encode_meta(META)
    rounds = zip(*(_history(each) for each in customers), strict=True)
    for version, events in enumerate(rounds, start=1):
        for customer, event in zip(customers, events, strict=True):
            position, data = next(positions), encode(event)
            kind, schema = event.type, event.schema_version
            blank = blanked(kind, data)
            where = place(customer.id, kind, schema, version)
            sealed = None if blank is None else customer.key.seal(data.encode(), where)
            time = _BEGINNING + timedelta(milliseconds=position)
            yield (
                *(position, new_event_key(), "default", customer.id, version, kind, schema),
                *(blank or data, sealed, meta, time),
            )


def _history(customer: _Customer) -> Iterator[Event]:
    email = f"{customer.id[5:]}@example.com"
    yield CustomerCreated(
        email=email,
        first_name="Jane",
        last_name="Doe",
        phone="+1-555-0123",
        tags=("vip",),
        metadata={"segment": "vip", "source": "referral"},
    )
    yield AddressAdded(address=an_address(f"addr_{customer.id[5:]}", is_default=True))
    yield CustomerTagged(tags=("early-adopter",))
    yield CustomerUpdated(changes=CustomerChanges(email=f"new.{email}", first_name="Janet"))
    for number in range(ORDERS):
        for version in (1, 2):
            yield OrderRecorded(
                order=Order(
                    order_id=f"ord_{customer.id[5:]}_{number}",
                    order_version=version,
                    status="placed" if version == 1 else "paid",
                    currency="USD",
                    total=500 + number * 7_919,
                    placed_at=_BEGINNING,
                )
            )
