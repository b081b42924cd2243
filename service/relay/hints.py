"""Hints that the log has grown, heard only by who has nothing to do.

Invariant: a hint may get lost at any time, and everything works without any. Each one costs whoever
appends, the database and us, so who publishes all the time does not ask for them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from service.event_log import CHANNEL
from service.postgres import Postgres


class Hints:
    """One reader's; `heard` is called for every hint between `begin` and `end`."""

    def __init__(self, postgres: Postgres, heard: Callable[[], None]) -> None:
        self._postgres = postgres
        self._heard = heard
        self._listening = AsyncExitStack()
        self._is_on = False

    @classmethod
    @asynccontextmanager
    async def of_log(cls, postgres: Postgres, heard: Callable[[], None]) -> AsyncIterator[Hints]:
        hints = cls(postgres, heard)
        async with hints._listening:
            yield hints

    async def begin(self) -> bool:
        """Whether it has begun only now: what came before is to be looked for. Raises Unavailable.

        Harmless when repeated.
        """
        if self._is_on:
            return False
        await self._listening.enter_async_context(self._postgres.listening(CHANNEL, self._heard))
        self._is_on = True
        return True

    async def end(self) -> None:
        """Harmless when repeated."""
        self._is_on = False
        await self._listening.aclose()
