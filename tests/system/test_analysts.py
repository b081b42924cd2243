"""The documented example for analysts, as it is written, against a sum that is worked out apart."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

from service.events import OrderRecorded, OrderStatus
from service.postgres import Postgres
from tests.end_to_end.command import run
from tests.support.histories import an_order
from tests.support.logs import a_change, a_creation, appending

MASTER_KEY = b64encode(b"k" * 32).decode()  # tests.support.vaults.KEY
DOCUMENT = Path(__file__).parents[2] / "docs" / "analysts.md"
RUN_SECONDS_MAX = 60.0
# Days from the creation to each order, by month of the creation; what does not count is apart.
DAYS = {
    "2026-01": [[3.0, 1.5], [10.0], [], [4.0]],
    "2026-02": [[2.0], []],
    "2026-03": [[]],
}


def example() -> str:
    return DOCUMENT.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]


async def fill(postgres: Postgres) -> None:
    async with appending(postgres) as appender:
        for month, customers in DAYS.items():
            for days in customers:
                creation = a_creation(f"{month}-{datetime.now(UTC).timestamp()}@example.com")
                await appender.append(creation)
                created = datetime.fromisoformat(f"{month}-05T10:00:00Z")
                await _set_time(postgres, created)
                events = [_order(n, created, each) for n, each in enumerate(days)]
                cancelled = _order(90, created, 0.1, status="cancelled")
                a_test = _order(91, created, 0.2, test=True)
                events += [*events, cancelled, a_test]
                await appender.append(a_change(creation.customer_id, 1, *events))


def _order(
    number: int, created: datetime, days: float, *, status: OrderStatus = "paid", test: bool = False
) -> OrderRecorded:
    at = created + timedelta(days=days)
    return OrderRecorded(
        order=an_order(f"o{number}", 1, total=1, status=status, test=test, placed_at=at)
    )


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
