"""A build: how it begins, how far it is, and how what was filled becomes whole.

Invariant: where a build stands is in the database, written in the transaction that got it there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal, NamedTuple, TypeAlias

from projections.checkpoint import CUSTOMERS, Projection
from projections.versions import schema_of, statements
from service.postgres import Postgres, Reader, Transaction, load_statements

RANGE_EVENTS = 10_000  # of one transaction; more where one customer has more
RANGE_EVENTS_MIN = 1_000  # where the log is short
RANGES = 24  # that many at least, where none would have fewer events than that

Phase: TypeAlias = Literal["filling", "catching_up"]
Grant: TypeAlias = Callable[[Transaction], Awaitable[None]]
"""Grants the roles what they may do with every version there is."""

SQL = load_statements("projections", "rebuild.sql")


class Build(NamedTuple):
    """`target`: where the log ended when it began; what comes later is caught up with."""

    version: int
    epoch: str
    target: int
    phase: Phase

    @property
    def projection(self) -> Projection:
        return Projection(CUSTOMERS.name, self.version)


class Filled(NamedTuple):
    """How far the filling is. `events` and `total`: as counted when it was planned."""

    ranges_left: int
    events: int
    total: int


async def unfinished(reader: Reader) -> Build | None:
    """The build that was begun and has not been gone over to."""
    found = await reader.fetch(Build, SQL["build"])
    return found[0] if found else None


async def begin(postgres: Postgres, grant: Grant, range_events: int = RANGE_EVENTS) -> Build:
    """Make the next version's tables, empty and without indexes, and plan how they are filled."""
    async with postgres.transaction() as transaction:
        (version,) = await transaction.fetch(int, SQL["add_version"])
        await transaction.execute(statements("read_model.sql", version)["tables"])
        await transaction.execute(statements("read_model_writing.sql", version)["functions"])
        await grant(transaction)
        (build,) = await transaction.fetch(Build, SQL["begin"], version)
        await transaction.execute(SQL["plan"], version, range_events, RANGE_EVENTS_MIN, RANGES)
    return build


async def filled(reader: Reader, build: Build) -> Filled:
    (found,) = await reader.fetch(Filled, SQL["filled"], build.version)
    return found


async def finish(postgres: Postgres, build: Build) -> Build:
    """Indexes and counts, once every range is filled; from then on it is fed like any version."""
    sql, own = statements("read_model.sql", build.version), statements("rebuild.sql", build.version)
    async with postgres.transaction() as transaction:
        (held,) = await transaction.fetch(Build, SQL["lock_build"], build.version)
        if held.phase == "filling":
            await transaction.execute(SQL["large_sorts"])
            await transaction.execute(sql["indexes"])
            await transaction.execute(own["count_tags"])
            await transaction.execute(own["count_days"])
            await transaction.execute(SQL["set_place"], build.version)
            await transaction.execute(SQL["caught_up_next"], build.version)
    await _vacuum(postgres, build)
    return build._replace(phase="catching_up")


async def _vacuum(postgres: Postgres, build: Build) -> None:
    vacuum = statements("read_model.sql", build.version)["vacuum"]
    for table in await postgres.fetch(str, SQL["tables"], schema_of(build.version)):
        await postgres.execute(vacuum.replace("{table}", table))
