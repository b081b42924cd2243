"""The tables of added projections: made by whoever migrates, and dropped by an operator.

Invariant: a table is made, tried, recorded and granted in one transaction, once; no worker can make
one, or has a right to.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from projections.checkpoint import Projection
from projections.derived.module import Derived
from projections.derived.store import SQL, probe
from service.errors import ConfigurationError, Corrupt, Unavailable
from service.event_log import EventLog
from service.migrations import grant
from service.postgres import Postgres, Reader, Transaction


class Made(NamedTuple):
    """A projection whose table is made. `moved_at`: when a worker last applied a batch."""

    name: str
    version: int
    moved_at: datetime

    @property
    def projection(self) -> Projection:
        return Projection(self.name, self.version)


async def make_tables(postgres: Postgres, modules: Iterable[Derived]) -> list[str]:
    """Make those that are missing, and grant them; their names. Safe to call from many places.

    Raises ConfigurationError where one exists that another text has made, or makes what its module
    cannot use; EventsArchived where one is missing that could not begin at the log's beginning.
    """
    made: list[str] = []
    async with postgres.transaction() as transaction:
        await transaction.execute(SQL["lock"])
        for each in modules:
            shapes = await transaction.fetch(str, SQL["shape"], *each.key)
            if not shapes:
                await EventLog(transaction).require(0)
                await _make(transaction, each)
                made.append(each.table)
            elif shapes != [each.shape]:
                raise ConfigurationError(
                    f"the row or the SQL of {each.name} was changed after derived.{each.table} was"
                    " made: raise VERSION"
                )
        if made:
            await grant(transaction)
    return made


async def _make(transaction: Transaction, derived: Derived) -> None:
    try:
        await transaction.execute(derived.sql)
        await transaction.execute(SQL["record"], *derived.key, derived.shape)
        await probe(transaction, derived)
    except (Corrupt, Unavailable) as error:
        raise ConfigurationError(
            f"the SQL of {derived.name} has to make the table derived.{derived.table} with"
            " customer_id text PRIMARY KEY, tenant text and a column for each field of its Row"
            f" ({', '.join(derived.fields)}), and did not: {error}"
        ) from error


async def made_tables(reader: Reader) -> Sequence[Made]:
    """All that are made, whichever modules are named here, by name and version."""
    return await reader.fetch(Made, SQL["made"])


async def drop_version(postgres: Postgres, name: str, version: int) -> bool:
    """Drop a table and all that belongs to it. False where there is no such version."""
    return await postgres.fetch_one(bool, SQL["drop_version"], name, version) or False
