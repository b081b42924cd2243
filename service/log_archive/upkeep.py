"""The partitions of the log: those in the database, and those in files.

Invariant: one operator's command at a time changes which is which; it holds a lock for as long as
it works, and makes certain that it still does before each change.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import NamedTuple, TypeAlias

from service.errors import ConfigurationError, ConnectionLost, Unavailable
from service.postgres import Postgres, Reader, Transaction, load_statements

SQL = load_statements("service", "log_archive.sql")
LOG = "log.event"
LOCK_MS = 250  # for each lock: others may wait behind us meanwhile
ATTEMPTS_MAX = 120
PAUSE_SECONDS = 1.0  # between attempts: whoever waited goes first
UNNEEDED_BITE = 5_000  # states that are dropped in one statement

Held: TypeAlias = Callable[[], Awaitable[None]]
"""Raises Unavailable where the lock was lost with its connection."""


class Partition(NamedTuple):
    """One that is in the database; times of its first event and of its last so far."""

    name: str
    first: int
    last: int
    bytes: int
    first_time: datetime | None
    last_time: datetime | None


class Archived(NamedTuple):
    """One that is in a file."""

    first: int
    last: int
    events: int
    name: str
    epoch: str
    file_name: str
    file_bytes: int
    sha256: str
    first_time: datetime
    last_time: datetime
    archived_at: datetime


async def partitions(reader: Reader) -> list[Partition]:
    """Those in the database, the oldest first."""
    return await reader.fetch(Partition, SQL["partitions"])


async def archived_partitions(reader: Reader) -> list[Archived]:
    """The oldest first."""
    return await reader.fetch(Archived, SQL["archived"])


@asynccontextmanager
async def hold_upkeep(postgres: Postgres) -> AsyncIterator[Held]:
    """Nobody else archives or attaches for the length of the block. Takes a connection of the pool.

    Raises ConfigurationError where somebody does.
    """
    async with postgres.transaction() as lock:
        if not (await lock.fetch(_is_taken, SQL["hold_upkeep"]))[0]:
            raise ConfigurationError("Another `customers log archive` or `attach` is at work.")

        async def is_held() -> None:
            await lock.fetch(bool, SQL["upkeep_is_held"])

        yield is_held


async def attempted(
    postgres: Postgres, is_held: Held, attempt: Callable[[Transaction], Awaitable[None]]
) -> None:
    """One transaction that waits for nobody for long, and for which nobody does, also where this
    process stands still; again, where either would have.

    Raises Unavailable where others never let us in, or we are never quick enough.
    """
    for number in range(1, ATTEMPTS_MAX + 1):
        await is_held()
        is_whole = False
        try:
            async with postgres.transaction() as transaction:
                await transaction.be_brief()
                await transaction.execute(SQL["bound_waits"], f"{LOCK_MS}ms")
                await attempt(transaction)
                is_whole = True
        except Unavailable as error:
            # Where the link broke at the commit, nobody knows whether it was done: a new run tells.
            is_unknown = is_whole and isinstance(error, ConnectionLost)
            if is_unknown or error.code != "database_unavailable":
                raise
            if number == ATTEMPTS_MAX:
                raise Unavailable(error.code, _never(number)) from error
        else:
            return
        await asyncio.sleep(PAUSE_SECONDS)


def _never(attempts: int) -> str:
    return (
        f"In {attempts:,} attempts the log was never free for {LOCK_MS} ms, or this command not"
        " quick enough to let others go on: long statements, a VACUUM of the partition, or a slow"
        " link to the database are in the way."
    )


async def drop_unneeded_snapshots(postgres: Postgres, archived_to: int) -> None:
    """States at events that are in the log: nobody needs them."""
    while await postgres.fetch(int, SQL["drop_unneeded"], archived_to, UNNEEDED_BITE):
        pass


def table_of(name: str) -> str:
    """A partition as SQL names it. The name is the log's own, not anybody's input."""
    assert name.replace("_", "").isalnum()
    return f'log."{name}"'


def _is_taken(is_taken: bool, _: str) -> bool:
    return is_taken
