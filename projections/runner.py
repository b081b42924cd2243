"""The worker that keeps a read model up to date.

Invariant: one batch at a time, each in one transaction with its checkpoint. A database or a broker
that is down is waited for, without end and without losing place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Protocol

import structlog

from projections.checkpoint import Checkpoints, Move
from projections.customers import Fact
from projections.feed import Batch, Feed, Source
from projections.observing import NoMetrics, Phase, ProjectionMetrics, ProjectionStatus
from projections.store import CheckpointLost
from service.errors import Unavailable
from service.event_log import EventLog
from service.telemetry import BatchSpans, NoBatchSpans

FOLLOW_SECONDS = 1.0  # between looks at which version is read
OBSERVE_SECONDS = 1.0  # between looks at how far behind the log everything is
RETRY_SECONDS_MIN = 0.1
RETRY_SECONDS_MAX = 2.0
SHUTDOWN_TIMEOUT_SECONDS = 10.0


class Applies(Protocol):
    """One read model."""

    async def apply(self, facts: Sequence[Fact], moves: Sequence[Move]) -> None:
        """In one transaction. Raises CheckpointLost, where another worker has taken over a
        partition; Unavailable; and what applying again would not mend."""


class Runner:
    """Applies what a source gives. Run as many as there are partitions; beyond, they stand by."""

    def __init__(
        self,
        source: Source,
        applier: Applies,
        log: EventLog,
        checkpoints: Checkpoints,
        *,
        metrics: ProjectionMetrics | None = None,
        spans: BatchSpans | None = None,
        shutdown_timeout_seconds: float = SHUTDOWN_TIMEOUT_SECONDS,
    ) -> None:
        self._source = source
        self._applier = applier
        self._log = log
        self._checkpoints = checkpoints
        self._metrics = metrics or NoMetrics()
        self._spans = spans or NoBatchSpans()
        self._shutdown_timeout_seconds = shutdown_timeout_seconds
        self._status = ProjectionStatus("stopped")
        self._stop = asyncio.Event()
        self._limit: asyncio.Timeout | None = None  # of `run`, set by `stop`
        self._retry_seconds = RETRY_SECONDS_MIN
        self._is_outpaced = False
        self._follow_at = 0.0  # by the event loop's clock

    @property
    def status(self) -> ProjectionStatus:
        return self._status

    async def run(self) -> None:
        """Apply until stopped.

        Raises Corrupt and ConfigurationError where applying would do harm; nothing else ends it.
        """
        try:
            async with asyncio.timeout(None) as self._limit, asyncio.TaskGroup() as group:
                observing = group.create_task(self._keep_observing())
                while not self._stop.is_set():
                    await self._open_and_work()
                observing.cancel()
        except TimeoutError:
            if not self._stop.is_set():
                raise
            # What was in hand did not end in time. Nothing is lost: it will be done again.
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from errors
        finally:
            self._limit = None
            self._enter("stopped")

    def stop(self) -> None:
        """Finish the batch in hand and return from `run`. Harmless when repeated, or before it."""
        if self._stop.is_set():
            return
        self._stop.set()
        if self._limit is not None:
            now = asyncio.get_running_loop().time()
            self._limit.reschedule(now + self._shutdown_timeout_seconds)

    async def _open_and_work(self) -> None:
        if self._status.phase != "unavailable":  # which stays until it has gone well again
            self._enter("starting")
        try:
            async with self._source.open() as feed:
                while not self._stop.is_set():
                    await self._follow_in_time()
                    batch = await feed.next()
                    self._succeeded()
                    if batch.facts or batch.moves:
                        await self._apply(feed, batch)
        except Unavailable as error:
            await self._failed(error)

    async def _apply(self, feed: Feed, batch: Batch) -> None:
        """The database is waited for here, so that no partition is given up for its sake."""
        while True:
            try:
                with self._spans.batch(
                    (each.traceparent for each in batch.facts), len(batch.facts)
                ):
                    await self._applier.apply(batch.facts, batch.moves)
            except CheckpointLost:
                self._outpaced()
                await self._checkpoints.follow()
                await feed.lost(batch)
                return
            except Unavailable as error:
                await self._failed(error)
                if self._stop.is_set():
                    return
                if await self._has_followed():
                    await feed.lost(batch)
                    return
            else:
                self._succeeded()
                self._is_outpaced = False
                self._metrics.applied(len(batch.facts))
                await feed.applied(batch)
                return

    async def _follow_in_time(self) -> None:
        """Between batches: whoever has nothing to apply does not notice otherwise that another
        version of the read model is read."""
        now = asyncio.get_running_loop().time()
        if now >= self._follow_at:
            self._follow_at = now + FOLLOW_SECONDS
            await self._checkpoints.follow()

    async def _has_followed(self) -> bool:
        """Whether another version is read now. The one in hand may be gone, tables and all; but
        nobody knows while the database does not answer."""
        with suppress(Unavailable):
            return await self._checkpoints.follow()
        return False

    def _outpaced(self) -> None:
        """Another worker has applied what was in hand: once is a partition that moved."""
        if not self._is_outpaced:
            structlog.get_logger().info("checkpoint_lost")
        self._is_outpaced = True

    async def _keep_observing(self) -> None:
        is_lost = False
        while True:
            try:
                await self._observe()
            except Unavailable as error:
                if not is_lost:
                    structlog.get_logger().warning("observing_broke_off", code=error.code)
                is_lost = True
            else:
                if is_lost:
                    structlog.get_logger().info("observing_goes_on")
                is_lost = False
            await asyncio.sleep(OBSERVE_SECONDS)

    async def _observe(self) -> None:
        position = await self._checkpoints.position()
        head = await self._log.head()
        lag_seconds = 0.0
        if position < head.position:
            oldest = await self._log.time_after(position)
            if oldest is not None:
                lag_seconds = (datetime.now(UTC) - oldest).total_seconds()
        self._metrics.parked_now(await self._checkpoints.parked())
        self._metrics.progress(position, max(0, head.position - position), max(0.0, lag_seconds))

    async def _failed(self, error: Unavailable) -> None:
        self._metrics.failed(error.code)
        self._enter("unavailable", str(error))
        with suppress(TimeoutError):
            async with asyncio.timeout(self._retry_seconds):
                await self._stop.wait()
        self._retry_seconds = min(2 * self._retry_seconds, RETRY_SECONDS_MAX)

    def _succeeded(self) -> None:
        self._retry_seconds = RETRY_SECONDS_MIN
        if self._status.phase == "unavailable":
            structlog.get_logger().info("projecting_goes_on")
        if self._status.phase != "running":
            self._enter("running")

    def _enter(self, phase: Phase, problem: str | None = None) -> None:
        self._status = ProjectionStatus(phase, problem)
