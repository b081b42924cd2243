"""Logs with small partitions, archived in this process, and what was in them.

Invariant: rows are compared as the database tells them, without a word of the code under test.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from service.customer import evolve
from service.event_log import EventLog
from service.findings import Progress
from service.identifiers import CustomerId
from service.log_archive import (
    Conditions,
    Partition,
    archive_partition,
    archived_partitions,
    attach_file,
    hold_upkeep,
    partitions,
)
from service.postgres import Postgres, Reader
from tests.support.vaults import VAULT
from tests.support.verifying import System

POSITIONS = 30  # of a partition, the first one less the position 0
DAYS = 100
SHRINK = """
ALTER TABLE log.event DETACH PARTITION log.event_000000;
DROP TABLE log.event_000000;
UPDATE log.head SET partition_positions = {positions}, partitioned_to = 0;
SELECT log.add_partition();
"""
ROWS = "SELECT row_to_json(event)::text FROM log.event ORDER BY position"
TRIGGERS = """
SELECT count(*) FROM pg_trigger WHERE tgrelid = ('log.' || $1)::regclass
AND tgname IN ('event_append_only', 'event_no_truncate') AND tgenabled = 'O'
"""


class Silent(Progress):
    def begin(self, part: str, total: int) -> None: ...

    def advance(self, count: int) -> None: ...


async def small_partitions(postgres: Postgres, positions: int = POSITIONS) -> None:
    """Of a log that has no event yet."""
    await postgres.execute(SHRINK.replace("{positions}", str(positions)))


async def age(postgres: Postgres, up_to: int, days: int = DAYS) -> None:
    """As if those events had been recorded so long ago; all at one moment."""
    async with postgres.transaction() as transaction:
        await transaction.execute("SET LOCAL session_replication_role = replica")
        await transaction.execute(
            "UPDATE log.event SET recorded_at = date_trunc('milliseconds', now())"
            " - make_interval(days => $2) WHERE position <= $1",
            up_to,
            days,
        )


async def stored(postgres: Postgres) -> list[str]:
    """Every column of every event that is in the database."""
    return await postgres.fetch(str, ROWS)


async def nobody(_: Reader, __: int) -> Sequence[str]:
    return []


EASY = Conditions(0.0, None, nobody)


@dataclass
class Archive:
    """One folder's, and the log of a system."""

    postgres: Postgres
    folder: Path
    conditions: Conditions = EASY
    steps: list[str] = field(default_factory=list)

    async def next(self) -> Partition:
        return (await partitions(self.postgres))[0]

    async def archive(self, count: int = 1) -> list[Path]:
        """The oldest partitions; their files."""
        paths: list[Path] = []
        async with hold_upkeep(self.postgres) as is_held:
            for _ in range(count):
                oldest = await self.next()
                arguments = self.postgres, VAULT, self.folder, oldest, self.conditions, is_held
                paths.append(await archive_partition(*arguments, Silent(), self.steps.append))
        return paths

    async def attach(self, path: Path | None = None) -> None:
        """The newest one."""
        newest = (await archived_partitions(self.postgres))[-1]
        async with hold_upkeep(self.postgres) as is_held:
            place = path or self.folder / newest.file_name
            await attach_file(self.postgres, place, newest, is_held, Silent())

    async def archived_to(self) -> int:
        gone = await archived_partitions(self.postgres)
        return gone[-1].last if gone else 0


async def old_customers(system: System, partitions_wanted: int) -> list[CustomerId]:
    """Traffic until so many partitions are full; who lives."""
    made: list[CustomerId] = []
    while True:
        made += await system.traffic(2)
        head = await system.postgres.fetch_one(int, "SELECT position FROM log.head") or 0
        if head > partitions_wanted * POSITIONS:
            return made


@asynccontextmanager
async def open_reader(postgres: Postgres) -> AsyncIterator[None]:
    """Somebody reads the log and does not end, for the length of the block."""
    async with postgres.transaction() as transaction:
        await transaction.fetch(int, "SELECT count(*) FROM log.event")
        yield


def log_of(system: System) -> EventLog:
    return EventLog(system.postgres, VAULT)


async def documents(system: System, customers: list[CustomerId]) -> list[bytes]:
    """What is folded of each, by another process, which remembers nothing."""
    found: list[bytes] = []
    for each in customers:
        customer = None
        async for event in log_of(system).folding("default", each):
            customer = evolve(customer, event)
        assert customer is not None
        found.append(customer.document("USD").json_bytes())
    return found
