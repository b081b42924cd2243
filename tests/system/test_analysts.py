"""The documented example for analysts, as it is written, against a sum that is worked out apart."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median
from typing import TypeAlias

from service.event_log import Append
from service.events import OrderRecorded, OrderStatus, Version
from service.postgres import Postgres
from tests.end_to_end.command import run
from tests.support.histories import META, an_order
from tests.support.logs import a_creation, appending

MASTER_KEY = b64encode(b"k" * 32).decode()  # tests.support.vaults.KEY
DOCUMENT = Path(__file__).parents[2] / "docs" / "analysts.md"
RUN_SECONDS_MAX = 60.0
TENANTS = ("default", "acme")  # whose orders have the same ids
# Days from the creation to each order that counts, by month of the creation.
DAYS = {
    "2026-01": [[3.0, 1.5], [10.0], [], [4.0]],
    "2026-02": [[2.0], []],
    "2026-03": [[]],
}
State: TypeAlias = tuple[OrderStatus, bool]  # and whether it is marked as a test
COUNTS: tuple[State, ...] = (("pending", False), ("cancelled", False), ("paid", False))
# What everybody has besides, days from the creation: none of it counts in the end.
OTHERS: dict[float, tuple[State, ...]] = {
    0.1: (("cancelled", False),),
    0.2: (("paid", True),),
    0.3: (("placed", False), ("paid", False), ("cancelled", False)),
    0.4: (("completed", False), ("completed", True)),
}


def example() -> str:
    return DOCUMENT.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]


async def fill(postgres: Postgres) -> None:
    customers = [(month, days) for month in DAYS for days in DAYS[month]]
    async with appending(postgres) as appender:
        for number, (month, days) in enumerate(customers):
            tenant = TENANTS[number % len(TENANTS)]
            creation = a_creation(f"{number}@example.com", tenant=tenant)
            await appender.append(creation)
            created = datetime.fromisoformat(f"{month}-05T10:00:00Z")
            await _set_time(postgres, created)
            orders = _orders(number // len(TENANTS), created, days)
            customer = creation.customer_id
            await appender.append(Append(tenant, customer, Version(1), tuple(orders), META))


def _orders(customer: int, created: datetime, days: Sequence[float]) -> Iterator[OrderRecorded]:
    """Every state of every order, each order's first state first."""
    stories = [*((each, COUNTS) for each in days), *OTHERS.items()]
    for number, (after_days, states) in enumerate(stories):
        placed_at = created + timedelta(days=after_days)
        for version, (status, test) in enumerate(states, start=1):
            order_id = f"order_{customer}_{number}"
            order = an_order(
                order_id, version, total=1, status=status, test=test, placed_at=placed_at
            )
            yield OrderRecorded(order=order)


async def _set_time(postgres: Postgres, time: datetime) -> None:
    async with postgres.transaction() as transaction:
        await transaction.execute("SET LOCAL session_replication_role = replica")
        last = "SELECT max(position) FROM log.event"
        await transaction.execute(
            f"UPDATE log.event SET recorded_at = $1 WHERE position = ({last})",  # noqa: S608
            time,
        )


def expected() -> str:
    lines = []
    for month, customers in DAYS.items():
        firsts = [min(days) for days in customers if days]
        middle = round(median(firsts), 1) if firsts else None
        counts = f"{len(customers)} customers, {len(firsts)} with orders"
        lines.append(f"{month}: {counts}, after {middle} days\n")
    return "".join(lines)


async def test_the_documented_question_is_answered(database: str, tmp_path: Path) -> None:
    async with Postgres.connect(database) as postgres:
        await fill(postgres)
    settings = {"DATABASE_URL": database, "MASTER_KEY": MASTER_KEY}
    exported = await asyncio.to_thread(
        lambda: run(tmp_path, "export", "events", "--format", "parquet", **settings)
    )
    assert exported.returncode == 0, exported.stderr
    answered = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", example()],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS_MAX,
        check=False,
    )
    assert answered.returncode == 0, answered.stderr
    assert answered.stdout == expected()
