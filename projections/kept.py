"""Keeps up to date what is not read: what was read before a rebuild, and what waits to be read.

Invariant: whoever is deleted disappears from every version of the read model, so that the way back
brings nobody back. It is fed from the log, in the background, and holds up nobody who reads.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace

import structlog
from typing_extensions import override

from projections.applier import Applier
from projections.checkpoint import Checkpoints, Projection
from projections.log_feed import LogSource
from projections.observing import NoMetrics, ProjectionMetrics
from projections.runner import Runner
from projections.store import Store
from projections.versions import kept_up_to_date
from service.errors import ConfigurationError, Corrupt, Unavailable
from service.event_log import EventLog
from service.postgres import Postgres

LOOK_SECONDS = 5.0  # between looks at which versions are kept


class _Told(NoMetrics):
    """Nobody reads the version, so nobody would notice that it stands still."""

    @override
    def failed(self, code: str) -> None:
        structlog.get_logger().warning("keeping_broke_off", code=code)


def log_runner(
    postgres: Postgres,
    log: EventLog,
    projection: Projection,
    *,
    default_currency: str,
    metrics: ProjectionMetrics | None = None,
) -> Runner:
    """Feeds a version from the log. Once it is read, its runner ends with ConfigurationError."""
    projection = replace(projection, is_unread=True)
    checkpoints = Checkpoints(postgres, projection)
    store = Store(postgres, projection, default_currency=default_currency)
    source = LogSource(postgres, log, checkpoints)
    metrics = metrics or NoMetrics()
    return Runner(source, Applier(store, log, metrics), log, checkpoints, metrics=metrics)


class Kept:
    """A worker; of several one works and the others stand by."""

    def __init__(self, postgres: Postgres, log: EventLog, *, default_currency: str) -> None:
        self._postgres = postgres
        self._log = log
        self._default_currency = default_currency
        self._stop = asyncio.Event()

    async def run(self) -> None:
        """Feed what is kept until stopped; what goes wrong is told, and tried again."""
        while not self._stop.is_set():
            try:
                kept = await self._kept()
                if kept is not None:
                    await self._feed(kept)
            except ConfigurationError:
                pass  # it is read by now, and others feed it
            except (Unavailable, Corrupt) as error:
                code = error.code if isinstance(error, Unavailable) else "corrupt"
                structlog.get_logger().warning("keeping_broke_off", code=code, detail=str(error))
            await self._pause()

    def stop(self) -> None:
        self._stop.set()

    async def _kept(self) -> Projection | None:
        found = await kept_up_to_date(self._postgres)
        return found[-1] if found else None

    async def _feed(self, kept: Projection) -> None:
        """Until it is no longer kept."""
        runner = log_runner(
            self._postgres,
            self._log,
            kept,
            default_currency=self._default_currency,
            metrics=_Told(),
        )
        feeding = asyncio.create_task(runner.run())
        try:
            with suppress(Unavailable):
                while not (self._stop.is_set() or feeding.done()) and await self._kept() == kept:
                    await self._pause()
        finally:
            runner.stop()
            await feeding

    async def _pause(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_SECONDS):
                await self._stop.wait()
