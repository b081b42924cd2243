"""Forgets idempotency records that are past their time.

Invariant: a record lives for at least KEPT_SECONDS. It goes in bounded bites, so that no statement
holds up writers for long, and processes that sweep at the same time pass each other by.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from service.errors import Unavailable
from service.event_log import SQL
from service.postgres import Postgres

KEPT_SECONDS = 7.0 * 24 * 3_600
SWEEP_SECONDS = 600.0  # between sweeps
BITE_RECORDS_MAX = 5_000


class IdempotencyExpiry:
    """One sweep at the start, then one every SWEEP_SECONDS."""

    def __init__(self, postgres: Postgres, *, kept_seconds: float = KEPT_SECONDS) -> None:
        self._postgres = postgres
        self._kept_seconds = kept_seconds

    async def run(self, stop: asyncio.Event) -> None:
        """Sweep until stopped. A database that is down is left for the next sweep."""
        while not stop.is_set():
            with suppress(Unavailable):
                await self.sweep(stop)
            with suppress(TimeoutError):
                async with asyncio.timeout(SWEEP_SECONDS):
                    await stop.wait()

    async def sweep(self, stop: asyncio.Event) -> int:
        """How many records were forgotten until there are no more, or a stop is asked for.

        Raises Unavailable; what was forgotten stays so.
        """
        forgotten = 0
        while not stop.is_set():
            bite = await self._postgres.fetch_one(
                int, SQL["forget_old_keys"], self._kept_seconds, BITE_RECORDS_MAX
            )
            assert bite is not None, "a function call has a row"
            forgotten += bite
            if bite < BITE_RECORDS_MAX:
                break
        return forgotten
