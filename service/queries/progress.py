"""How far the read model is, and waiting for it to get somewhere.

Invariant: a mark that is returned was read after the caller asked. Callers who ask together share a
query, and all who wait look at the same moments, so waiting costs the same however many wait; and
they are at most WAITERS_MAX, so that a read model that stands still holds up nothing but its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from service.errors import Unavailable
from service.postgres import Postgres, load_statements
from service.queries.loader import WAITING_MAX, Loader

POLL_SECONDS = 0.005
WAITERS_MAX = 100  # lists, and as many pages of orders: while they wait they hold slots of others

SQL = load_statements("service", "queries.sql")


class Mark(NamedTuple):
    """Where the read model stands. Equal marks: nothing was applied in between.

    Each partition of the events topic has a position of its own: everything up to the lowest is
    shown; the total rises with every batch. A rebuild makes the next version.
    """

    position: int
    positions_total: int
    version: int
    partitions: int


class Progress:
    """Asks for the mark on behalf of everybody."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self._marks: Loader[None, Mark] = Loader(self._fetch, batch_keys_max=WAITING_MAX)
        self._seen = 0  # the highest position ever seen
        self._waiters = 0

    async def mark(self) -> Mark:
        """The mark as of now."""
        return await self._marks.load(None)

    def saw(self, mark: Mark) -> None:
        """A statement met this mark on its way."""
        self._seen = max(self._seen, mark.position)

    def forget(self) -> None:
        """What was seen need no longer be so."""
        self._seen = 0

    async def reach(self, position: int, deadline: float) -> None:
        """Return once everything up to `position` is shown.

        Raises Unavailable: `projection_lag` at `deadline`, by the event loop's clock; `overloaded`
        where it is not shown yet, and too many wait already.
        """
        if position <= self._seen:
            return
        try:
            async with asyncio.timeout_at(deadline):
                if (await self.mark()).position < position:
                    await self._wait(position)
        except TimeoutError as error:
            raise Unavailable("projection_lag", "The list does not show that yet.") from error

    async def _wait(self, position: int) -> None:
        if self._waiters >= WAITERS_MAX:
            raise Unavailable("overloaded", "Too many lists wait for what is not shown yet.")
        self._waiters += 1
        try:
            time = asyncio.get_running_loop().time
            while True:
                await asyncio.sleep(POLL_SECONDS - time() % POLL_SECONDS)  # everybody's next moment
                if (await self.mark()).position >= position:
                    return
        finally:
            self._waiters -= 1

    async def _fetch(self, callers: Sequence[None]) -> list[Mark]:
        mark = await self._postgres.fetch_one(Mark, SQL["mark"])
        assert mark is not None, "an aggregate has a row"
        self.saw(mark)
        return [mark] * len(callers)
