"""Batches straight from the log, where there is no broker.

Invariant: positions are contiguous, so a page proves by arithmetic that nothing is left out. NOTIFY
is a hint: everything works with it lost. Of several workers one works and the others stand by.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from projections.checkpoint import LOG_PARTITION, Checkpoints, Move, Place
from projections.feed import BATCH_EVENTS_MAX, NOTHING, Batch
from service.errors import Corrupt
from service.event_log import CHANNEL, EventLog
from service.events import Position
from service.postgres import Postgres

POLL_SECONDS_MIN = 0.005  # while there is something to do
POLL_SECONDS_MAX = 0.1
STANDBY_SECONDS = 1.0  # between looks at whether the worker that is ahead still moves


class LogSource:
    """Feeds from the log of one database."""

    def __init__(
        self,
        postgres: Postgres,
        log: EventLog,
        checkpoints: Checkpoints,
        *,
        batch_events_max: int = BATCH_EVENTS_MAX,
        standby_seconds: float = STANDBY_SECONDS,
    ) -> None:
        self._postgres = postgres
        self._log = log
        self._checkpoints = checkpoints
        self._batch_events_max = batch_events_max
        self._standby_seconds = standby_seconds

    @asynccontextmanager
    async def open(self) -> AsyncIterator[LogFeed]:
        log = self._log
        epoch = (await log.head()).epoch
        places = await self._checkpoints.take_over({LOG_PARTITION}, epoch)
        place = places[LOG_PARTITION]
        head = await log.head()  # after the place, which another worker may just have moved
        if place.position > head.position:
            raise Corrupt(
                f"position {place.position} is shown and the log ends at {head.position}:"
                " the log was set back. Restore it whole, or rebuild the read model"
            )
        heard = asyncio.Event()
        async with self._postgres.listening(CHANNEL, heard.set):
            yield LogFeed(
                log, self._checkpoints, place, heard, self._batch_events_max, self._standby_seconds
            )


class LogFeed:
    """Reads on from one place, which only this feed moves unless a rival shows up."""

    def __init__(
        self,
        log: EventLog,
        checkpoints: Checkpoints,
        place: Place,
        heard: asyncio.Event,
        batch_events_max: int,
        standby_seconds: float,
    ) -> None:
        self._log = log
        self._checkpoints = checkpoints
        self._place = place
        self._heard = heard
        self._batch_events_max = batch_events_max
        self._standby_seconds = standby_seconds
        self._poll_seconds = POLL_SECONDS_MIN
        self._has_rival = False

    async def next(self) -> Batch:
        if self._has_rival:
            await asyncio.sleep(self._standby_seconds)
            await self._look_for_rival()
            return NOTHING
        self._heard.clear()  # before reading, so that what comes later is heard
        place = self._place
        page = await self._log.page(Position(place.position), limit=self._batch_events_max)
        if not page:
            await self._wait()
            return NOTHING
        self._poll_seconds = POLL_SECONDS_MIN
        last = page[-1]
        if last.position != place.position + len(page):
            raise Corrupt(f"the log has a hole after position {place.position}")
        return Batch(page, [Move(place, last.position, 0, last.time)])

    async def applied(self, batch: Batch) -> None:
        for move in batch.moves:
            self._place = move.place()

    async def lost(self, batch: Batch) -> None:
        for move in batch.moves:
            self._place = move.place()  # if only the confirmation was lost, here we are
        await self._look_for_rival()

    async def _look_for_rival(self) -> None:
        """Whoever has moved the checkpoint is left to it, until it no longer moves."""
        place = (await self._checkpoints.places({LOG_PARTITION}))[LOG_PARTITION]
        self._has_rival = place.position != self._place.position
        self._place = place

    async def _wait(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._poll_seconds):
                await self._heard.wait()
        self._poll_seconds = min(2 * self._poll_seconds, POLL_SECONDS_MAX)
