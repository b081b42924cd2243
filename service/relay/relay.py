"""The worker that publishes the log.

Invariant: batches are published one at a time, in the order of their positions; the next one is
only read and encoded while Kafka works on the one before. NOTIFY is a hint: everything works with
it lost. A broker or a database that is down is waited for, without end and without losing place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from time import monotonic
from typing import NamedTuple

from service.errors import Unavailable
from service.event_log import EventLog
from service.kafka import traceparent_in_record
from service.postgres import Postgres
from service.relay.delivery import Delivery, Session
from service.relay.hints import Hints
from service.relay.laggards import WATERMARK_SECONDS, Laggards
from service.relay.lease import Lease, LeaseLost, Term
from service.relay.observing import NoMetrics, Phase, RelayMetrics, RelayStatus
from service.relay.standing import Batch, Standing, next_batch, with_watermarks
from service.telemetry import BatchSpans, NoBatchSpans

BATCH_EVENTS_MAX = 1_000  # times `batch_pages_max`; and PAGE_BYTES_MAX. Two batches are held
# From one batch's beginning to the next one's, unless there is a backlog. Each takes processor time
# of ours, of Kafka and of all who read: at a thousand events a second, batches that come one right
# after the other keep everybody on the machine waiting for longer than this does.
BATCH_SECONDS_MIN = 0.02
POLL_SECONDS_MIN = 0.005  # while there is something to do
POLL_SECONDS_MAX = 0.05
BUSY_SECONDS = 5.0  # without a pause; then nobody need tell us that there is more
STANDBY_POLL_SECONDS = 0.25
KEEP_SECONDS = 0.5  # between renewals of the lease
CHECK_SECONDS = 2.0  # between looks at the topic
RETRY_SECONDS_MIN = 0.1
RETRY_SECONDS_MAX = 2.0
SHUTDOWN_TIMEOUT_SECONDS = 10.0


class _Prepared(NamedTuple):
    batch: Batch
    goes_on: bool  # there is more in the log, so the next batch can be read ahead


class _Mark(NamedTuple):
    """An end that the log had once, and when."""

    position: int
    seen_at: float


class Relay:
    """Publishes while it holds the lease, stands by while it does not."""

    def __init__(
        self,
        postgres: Postgres,
        log: EventLog,
        delivery: Delivery,
        lease: Lease,
        *,
        metrics: RelayMetrics | None = None,
        spans: BatchSpans | None = None,
        batch_events_max: int = BATCH_EVENTS_MAX,
        shutdown_timeout_seconds: float = SHUTDOWN_TIMEOUT_SECONDS,
    ) -> None:
        self._postgres = postgres
        self._log = log
        self._delivery = delivery
        self._lease = lease
        self._metrics = metrics or NoMetrics()
        self._spans = spans or NoBatchSpans()
        self._batch_events_max = batch_events_max
        self._shutdown_timeout_seconds = shutdown_timeout_seconds
        self._status = RelayStatus("stopped")
        self._wake = asyncio.Event()
        self._stop = asyncio.Event()
        self._limit: asyncio.Timeout | None = None  # of `run`, set by `stop`
        self._retry_seconds = RETRY_SECONDS_MIN
        self._published = 0  # position
        self._mark = _Mark(0, monotonic())

    @property
    def status(self) -> RelayStatus:
        return self._status

    async def run(self) -> None:
        """Publish until stopped.

        Raises Corrupt and ConfigurationError where publishing would do harm; nothing else ends it.
        """
        try:
            async with asyncio.timeout(None) as self._limit:
                while not self._stop.is_set():
                    await self._stand_by_or_publish()
        except TimeoutError:
            if not self._stop.is_set():
                raise
            # What was in hand did not end in time. Nothing is lost: it will be done again.
        finally:
            self._limit = None
            self._enter("stopped")

    def stop(self) -> None:
        """Finish the batch in hand and return from `run`. Harmless when repeated, or before it."""
        if self._stop.is_set():
            return
        self._stop.set()
        self._wake.set()
        if self._limit is not None:
            now = asyncio.get_running_loop().time()
            self._limit.reschedule(now + self._shutdown_timeout_seconds)

    async def _stand_by_or_publish(self) -> None:
        try:
            term = await self._lease.take()
            if term is None:
                self._enter("standby")
                await self._pause(STANDBY_POLL_SECONDS)
                return
            await self._hold(term)
        except LeaseLost:
            self._enter("standby")
        except Unavailable as error:
            self._metrics.failed(error.code, error.detail)
            self._enter("unavailable", str(error))
            await self._pause(self._retry_seconds)
            self._retry_seconds = min(2 * self._retry_seconds, RETRY_SECONDS_MAX)

    async def _hold(self, term: Term) -> None:
        """Publish as long as it goes well; then, if only because of a stop, let others try."""
        if self._status.phase != "unavailable":  # which stays until it has gone well again
            self._enter("starting")
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._keep_lease(term))]
                async with self._delivery.session(term) as session:
                    self._enter("publishing")
                    tasks.append(group.create_task(_keep_checking(session)))
                    async with Hints.of_log(self._postgres, self._wake.set) as hints:
                        await self._publish(term, session, group, hints)
                for task in tasks:
                    task.cancel()
        except BaseExceptionGroup as errors:
            raise _weightiest(errors) from errors
        await self._lease.release(term)

    async def _publish(
        self, term: Term, session: Session, group: asyncio.TaskGroup, hints: Hints
    ) -> None:
        standing = session.start
        self._published = standing.position
        self._metrics.begins(standing.position)
        laggards = Laggards()
        poll_seconds, idle_at = POLL_SECONDS_MIN, monotonic()
        events_max = self._batch_events_max
        prepared = await self._prepare(standing, events_max)
        while not self._stop.is_set():
            batch, goes_on = prepared
            if not goes_on:
                due = laggards.due(standing, monotonic())
                batch = with_watermarks(batch, standing, due, datetime.now(UTC))
            if batch.after == standing:
                if poll_seconds < POLL_SECONDS_MAX or not await hints.begin():
                    seconds = min(poll_seconds, WATERMARK_SECONDS) if laggards else poll_seconds
                    await self._idle(seconds)
                poll_seconds = min(2 * poll_seconds, POLL_SECONDS_MAX)
                idle_at = monotonic()
                prepared = await self._prepare(standing, self._batch_events_max)
                continue
            events_max = self._next_events_max(events_max, session, goes_on=goes_on)
            ahead = group.create_task(self._prepare(batch.after, events_max)) if goes_on else None
            await self._lease.assure(term)
            began = monotonic()
            with self._spans.batch(_traceparents(batch), batch.events):
                await session.publish(batch)
            standing = batch.after
            self._observe(batch)
            if began - idle_at > BUSY_SECONDS:
                await hints.end()
            poll_seconds = POLL_SECONDS_MIN
            rest_seconds = began + BATCH_SECONDS_MIN - monotonic()
            if not goes_on and rest_seconds > 0:
                await self._pause(rest_seconds)
            prepared = await (ahead or self._prepare(standing, events_max))

    def _next_events_max(self, events_max: int, session: Session, *, goes_on: bool) -> int:
        """Batches grow with a backlog, and begin small again without one."""
        if not goes_on:
            return self._batch_events_max
        return min(2 * events_max, self._batch_events_max * session.batch_pages_max)

    async def _prepare(self, standing: Standing, events_max: int) -> _Prepared:
        self._wake.clear()  # before reading, so that what comes later wakes us
        page = await self._log.page(standing.position, limit=events_max)
        return _Prepared(next_batch(standing, page), page.goes_on)

    async def _keep_lease(self, term: Term) -> None:
        while True:
            await asyncio.sleep(KEEP_SECONDS)
            await self._lease.renew(term)
            await self._observe_lag()

    async def _observe_lag(self) -> None:
        head = await self._log.head()
        now = monotonic()
        if self._published >= self._mark.position:
            self._mark = _Mark(head.position, now)
        self._metrics.lag(max(0, head.position - self._published), now - self._mark.seen_at)

    def _observe(self, batch: Batch) -> None:
        self._published = batch.after.position
        self._retry_seconds = RETRY_SECONDS_MIN
        self._metrics.published(batch.after.position, batch.events)

    def _enter(self, phase: Phase, problem: str | None = None) -> None:
        if phase != self._status.phase:
            self._metrics.active(phase == "publishing")
        self._status = RelayStatus(phase, problem)

    async def _idle(self, seconds: float) -> None:
        """Wait for a hint, at most for so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    async def _pause(self, seconds: float) -> None:
        """Wait, unless stopped."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop.wait()


def _traceparents(batch: Batch) -> Iterator[str | None]:
    for records in batch.records.values():
        yield from map(traceparent_in_record, records)


async def _keep_checking(session: Session) -> None:
    while True:
        await asyncio.sleep(CHECK_SECONDS)
        await session.check()


def _weightiest(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """Of what ended a session, the one that decides what to do next."""
    return max(errors.exceptions, key=_weight)


def _weight(error: BaseException) -> int:
    if isinstance(error, Unavailable):
        return 0
    return 1 if isinstance(error, LeaseLost) else 2
