"""Going over from the version that is read to another one, in one transaction; and dropping one.

Invariants: a statement of a reader sees one version or the other, for it holds its views from its
beginning to its end. The version gone over to shows all that readers have seen. Who waits for us,
waits for FLIP_SECONDS and LOCK_MS at most, or for as long as the server lets us stand still; then
we give up, and try again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import NamedTuple

from projections.checkpoint import Projection
from projections.rebuild.build import SQL as BUILD
from projections.versions import State, Version, statements
from service.errors import CustomersError, Unavailable
from service.postgres import Postgres, Transaction, load_statements

ATTEMPTS_MAX = 60
LOCK_MS = 250  # for a lock, and for all views: what a reader may wait behind us, at most
FLIP_SECONDS = 0.5  # for the other version to show as much, while nothing is applied to this one
NEAR_SECONDS = 5.0  # for the same, while everything goes on, before each attempt
PAUSE_SECONDS_MIN = 0.25  # between attempts: whoever waited goes first
PAUSE_SECONDS_MAX = 2.0
POLL_SECONDS = 0.005

SQL = load_statements("projections", "flip.sql")


class NotAsThought(CustomersError):
    """Somebody else has gone over, or dropped a version, meanwhile: nothing was done."""


class _Place(NamedTuple):
    partition: int
    epoch: str
    position: int
    topic_id: str
    topic_offset: int
    event_time: datetime


class _Lowest(NamedTuple):
    epoch: str
    position: int
    event_time: datetime


async def flip(postgres: Postgres, old: Projection, new: Projection) -> None:
    """Let readers and workers go over from `old` to `new`, which somebody keeps up to date
    meanwhile. `old` is kept. Raises NotAsThought; Unavailable where readers never let us in."""

    async def attempt() -> None:
        await _come_near(postgres, old, new)
        async with _impatient(postgres) as transaction:
            await _go_over(transaction, old, new)

    await _attempted(attempt)


async def drop(postgres: Postgres, version: int) -> None:
    """Remove a version that is not read, and all that is known of it. Raises as `flip`."""

    async def attempt() -> None:
        async with _impatient(postgres) as transaction:
            await _check(transaction, {version: {"building", "kept"}})
            await transaction.execute(statements("read_model.sql", version)["drop"])
            await _forget_plan(transaction, version)
            await transaction.execute(BUILD["forget_differences"], version)
            await transaction.execute(SQL["forget_version"], version)
            await transaction.execute(SQL["set_state"], version, "dropped")

    await _attempted(attempt)


@asynccontextmanager
async def _impatient(postgres: Postgres) -> AsyncIterator[Transaction]:
    """A transaction that waits for nobody for long."""
    async with postgres.transaction() as transaction:
        await transaction.execute(SQL["bound_waits"], f"{LOCK_MS}ms")
        yield transaction


async def _attempted(attempt: Callable[[], Awaitable[None]]) -> None:
    """Again, where others would have had to wait for long."""
    pause_seconds = PAUSE_SECONDS_MIN
    for number in range(1, ATTEMPTS_MAX + 1):
        try:
            await attempt()
        except Unavailable as error:
            if number == ATTEMPTS_MAX or error.code != "database_unavailable":
                raise
        else:
            return
        await asyncio.sleep(pause_seconds)
        pause_seconds = min(2 * pause_seconds, PAUSE_SECONDS_MAX)


async def _come_near(postgres: Postgres, old: Projection, new: Projection) -> None:
    """Wait for `new` to show what `old` does, as long as that may be."""
    time = asyncio.get_running_loop().time
    deadline = time() + NEAR_SECONDS
    while await postgres.fetch_one(int, SQL["behind"], old.version, new.version):
        if time() > deadline:
            return
        await asyncio.sleep(POLL_SECONDS)


async def _go_over(transaction: Transaction, old: Projection, new: Projection) -> None:
    await _check(transaction, {old.version: {"active"}, new.version: {"building", "kept"}})
    (amendment,) = await transaction.fetch(int, SQL["amend"], new.version)
    await transaction.execute(SQL["outdate_different"], new.version, amendment)
    await _keep_differences(transaction, old, new)
    await transaction.be_brief()
    await transaction.execute(SQL["lock_feeds"])
    shown = await transaction.fetch(int, SQL["places"], old.version)
    await _wait_for(transaction, new, max(shown, default=0))
    await _hand_over(transaction, old, new)
    await transaction.execute(SQL["set_state"], old.version, "kept")
    await transaction.execute(SQL["set_state"], new.version, "active")
    await transaction.execute(SQL["outdate_parked"], old.version, new.version, amendment)
    await _replace_views(transaction, new)


async def _replace_views(transaction: Transaction, new: Projection) -> None:
    """One after the other, each behind its readers; all of them in LOCK_MS."""
    try:
        async with asyncio.timeout(LOCK_MS / 1_000):
            await transaction.execute(statements("read_model.sql", new.version)["views"])
    except TimeoutError as error:
        raise Unavailable("database_unavailable", "Readers hold on to what they read.") from error


async def _keep_differences(transaction: Transaction, old: Projection, new: Projection) -> None:
    """Those of `new` are those of `old` from now on: the way back needs them."""
    await _forget_plan(transaction, new.version)
    await transaction.execute(BUILD["forget_differences"], old.version)
    await transaction.execute(SQL["hand_differences_over"], new.version, old.version)


async def _forget_plan(transaction: Transaction, version: int) -> None:
    for statement in (SQL["forget_build"], SQL["forget_ranges"]):
        await transaction.execute(statement, version)


async def _check(transaction: Transaction, wanted: dict[int, set[State]]) -> None:
    found = await transaction.fetch(Version, SQL["lock_versions"])
    states = {each.number: each.state for each in found}
    if not all(states.get(number) in allowed for number, allowed in wanted.items()):
        raise NotAsThought(
            "The versions of the read model were changed by somebody else meanwhile."
        )


async def _wait_for(transaction: Transaction, new: Projection, position: int) -> None:
    """Until `new` shows the log up to there; nothing more is applied to the other one now."""
    time = asyncio.get_running_loop().time
    deadline = time() + FLIP_SECONDS
    while (await transaction.fetch(int, SQL["place"], new.version))[0] < position:
        if time() > deadline:
            raise Unavailable("database_unavailable", "The new version does not catch up.")
        await asyncio.sleep(POLL_SECONDS)


async def _hand_over(transaction: Transaction, old: Projection, new: Projection) -> None:
    """The feed of `old` feeds `new`; of `old` one place is left, which no worker feeds."""
    places = await transaction.fetch(_Place, SQL["hand_over"], old.version, new.version)
    if places:
        await transaction.execute(SQL["add_places"], new.version, *_columns(places))
    for lowest in await transaction.fetch(_Lowest, SQL["keep"], old.version):
        await transaction.execute(SQL["add_kept"], old.version, *lowest)


def _columns(places: Sequence[_Place]) -> list[Sequence[object]]:
    return list(zip(*places, strict=True))
