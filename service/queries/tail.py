"""The end of the log as one process watches it: one listener and one poller for all who follow.

Invariants: whoever waits is woken once the log has gone beyond its place, and when the process
stops. NOTIFY is a hint: everything works with it lost, or where no connection can be spared for it.
Nothing is asked of the database while nobody follows.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

from service.errors import RightMissing, Unavailable
from service.event_log import CHANNEL, EventLog
from service.events import Position
from service.postgres import Postgres

POLL_SECONDS = 0.05  # between two looks at most
STEP_SECONDS = 0.02  # and at least: commits that come close together wake everybody once
RETRY_SECONDS = 0.5
LISTENING_POOL_SIZE_MIN = 6  # of a smaller pool, one connection is too many


class Tail:
    """Knows how far the log goes, while anybody follows and `run` does."""

    def __init__(self, postgres: Postgres, event_log: EventLog, *, pool_size_max: int) -> None:
        self._postgres = postgres
        self._event_log = event_log
        self._listens = pool_size_max >= LISTENING_POOL_SIZE_MIN
        self._position = Position(0)
        self._followers = 0
        self._is_followed = asyncio.Event()
        self._heard = asyncio.Event()
        self._moved = asyncio.Event()  # a new one for each move, so that each wakes whoever waits
        self._is_over = False

    @property
    def position(self) -> Position:
        """Of the last event that is known; it never goes back."""
        return self._position

    @property
    def is_over(self) -> bool:
        """Whether the process stops: nobody is to follow any longer."""
        return self._is_over

    def saw(self, position: Position) -> None:
        """Somebody has looked where the log ends: whoever waits for less is woken."""
        if position > self._position:
            self._position = position
            moved, self._moved = self._moved, asyncio.Event()
            moved.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Watch until stopped. An outage of the database is waited for."""
        try:
            async with asyncio.TaskGroup() as group:
                watching = group.create_task(self._watch())
                await stop.wait()
                watching.cancel()
        finally:
            self._is_over = True
            self._moved.set()

    @contextmanager
    def followed(self) -> Iterator[None]:
        """The log is watched for the length of the block."""
        self._followers += 1
        self._is_followed.set()
        try:
            yield
        finally:
            self._followers -= 1
            if not self._followers:
                self._is_followed.clear()

    async def reach_beyond(self, position: int, timeout_seconds: float) -> None:
        """Wait until the log goes beyond a position, or the process stops, or for so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                while self._position <= position and not self._is_over:
                    await self._moved.wait()

    async def _watch(self) -> None:
        while True:
            await self._is_followed.wait()
            try:
                async with self._hints():
                    while self._followers:
                        await self._look()
            except (Unavailable, RightMissing):  # told to operators by whoever watches the database
                await asyncio.sleep(RETRY_SECONDS)

    @asynccontextmanager
    async def _hints(self) -> AsyncIterator[None]:
        if not self._listens:
            yield
            return
        async with self._postgres.listening(CHANNEL, self._heard.set):
            yield

    async def _look(self) -> None:
        self._heard.clear()  # before reading, so that what comes later is heard
        head = await self._event_log.head()
        self.saw(head.position)
        await asyncio.sleep(STEP_SECONDS)
        with suppress(TimeoutError):
            async with asyncio.timeout(POLL_SECONDS - STEP_SECONDS):
                await self._heard.wait()
