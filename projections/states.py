"""The worker that keeps the topic of states: every customer as it is now, a tombstone once deleted.

Invariants: it follows the read model and never holds it up. A database or a broker that is down, a
topic that is missing, and a topic or a log that does not fit, are waited for, without end and
without losing place. A stop leaves nothing in doubt that can be mended in its time.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from time import monotonic
from typing import Protocol

import structlog

from projections.checkpoint import Checkpoints
from projections.observing import Phase, ProjectionStatus
from projections.state_store import STATES, StateStore
from projections.state_writer import PAGE_EVENTS_MAX, STANDBY_SECONDS, StateWriter
from service.errors import ConfigurationError, Corrupt, Unavailable
from service.event_log import EventLog
from service.kafka import KafkaConfig, Producer, TopicCheck, TopicDescription, Topics
from service.postgres import Postgres

OBSERVE_SECONDS = 1.0  # between looks at how far behind the log the states are
RETRY_SECONDS_MIN = 0.1
RETRY_SECONDS_MAX = 2.0
SHUTDOWN_TIMEOUT_SECONDS = 10.0


class StatesMetrics(Protocol):
    """Called by the worker as things happen; must not block or raise."""

    def written(self, events: int) -> None:
        """The states of everybody whom so many events are about are in the topic."""

    def progress(self, position: int, lag_events: int, lag_seconds: float) -> None:
        """What all workers together have written; how far the log is ahead, and for how long."""

    def failed(self, code: str, detail: str) -> None:
        """Writing broke off and will be tried again."""


class NoStatesMetrics:
    """For tests, and where nobody looks."""

    def written(self, events: int) -> None: ...

    def progress(self, position: int, lag_events: int, lag_seconds: float) -> None: ...

    def failed(self, code: str, detail: str) -> None: ...


class States:
    """Writes the states of one log. Run as many as you like: one writes, the others stand by.

    `creates_topic` is for the embedded broker, which forgets its topics with everything else.
    """

    def __init__(
        self,
        postgres: Postgres,
        kafka: KafkaConfig,
        *,
        creates_topic: bool = False,
        metrics: StatesMetrics | None = None,
        page_events_max: int = PAGE_EVENTS_MAX,
        standby_seconds: float = STANDBY_SECONDS,
        shutdown_timeout_seconds: float = SHUTDOWN_TIMEOUT_SECONDS,
    ) -> None:
        self._store = StateStore(postgres)
        self._log = EventLog(postgres)
        self._checkpoints = Checkpoints(postgres, STATES)
        self._kafka = kafka
        self._creates_topic = creates_topic
        self._metrics = metrics or NoStatesMetrics()
        self._page_events_max = page_events_max
        self._standby_seconds = standby_seconds
        self._shutdown_timeout_seconds = shutdown_timeout_seconds
        self._status = ProjectionStatus("stopped")
        self._stop = asyncio.Event()
        self._limit: asyncio.Timeout | None = None  # of `run`, set by `stop`
        self._retry_seconds = RETRY_SECONDS_MIN
        self._sweep_at = monotonic()  # when the worker begins, and then in time
        self._topic_id: str | None = None  # of the last writer's topic
        self._in_doubt: set[str] = set()  # at most a page's customers

    @property
    def status(self) -> ProjectionStatus:
        return self._status

    async def run(self) -> None:
        """Write until stopped. Where writing would do harm, it waits until it would not."""
        try:
            async with asyncio.timeout(None) as self._limit, asyncio.TaskGroup() as group:
                observing = group.create_task(self._keep_observing())
                while self._in_doubt or not self._stop.is_set():
                    await self._open_and_write()
                observing.cancel()
        except TimeoutError:
            if not self._stop.is_set():
                raise
            # What was in hand did not end in time. Nothing is lost: it will be done again. Only
            # what is still in doubt may be old until its customer's next event.
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from errors
        finally:
            self._limit = None
            self._enter("stopped")

    def stop(self) -> None:
        """Finish the page in hand, mend what is in doubt, and return from `run`.

        Harmless when repeated, or before it.
        """
        if self._stop.is_set():
            return
        self._stop.set()
        if self._limit is not None:
            now = asyncio.get_running_loop().time()
            self._limit.reschedule(now + self._shutdown_timeout_seconds)

    async def _open_and_write(self) -> None:
        if self._status.phase != "unavailable":  # which stays until it has gone well again
            self._enter("starting")
        try:
            async with Topics.connect(self._kafka) as topics:
                topic = await self._topic(topics)
                async with Producer.connect(self._kafka) as producer:
                    writer = await self._writer(producer, topic)
                    await self._write(writer, TopicCheck(topics, topic))
        except Unavailable as error:
            self._metrics.failed(error.code, error.detail)
            await self._wait_to_retry(str(error))
        except (ConfigurationError, Corrupt) as error:
            if self._status.problem != str(error):
                structlog.get_logger().error("states_refused", detail=str(error))
            await self._wait_to_retry(str(error))

    async def _write(self, writer: StateWriter, check: TopicCheck) -> None:
        while not self._stop.is_set():
            await self._sweep(writer)
            events = await writer.write()
            await check.check()
            self._succeeded()
            if events:
                self._metrics.written(events)
            if events < self._page_events_max:  # a page costs a dozen requests, however short it is
                await self._pause(writer.pause_seconds)
        await writer.mend()

    async def _sweep(self, writer: StateWriter) -> None:
        """Where it is time. Each worker does: who stands by may be the only one left."""
        started_at = monotonic()
        if started_at >= self._sweep_at:
            await writer.sweep()
            self._sweep_at = started_at + self._kafka.state_topic.sweep_seconds

    async def _writer(self, producer: Producer, topic: TopicDescription) -> StateWriter:
        epoch = (await self._log.head()).epoch
        place = await self._store.take_over(epoch, topic.id)
        head = await self._log.head()  # after the place, which another worker may just have moved
        if place.position > head.position:
            raise Corrupt(
                f"the states of position {place.position} are written and the log ends at"
                f" {head.position}: the log was set back. Restore it whole, or delete the topic"
                f" {topic.name}"
            )
        return StateWriter(
            self._store,
            producer,
            topic,
            place,
            head.position,
            self._in_doubt,
            archived_to=await self._log.archived_to(),
            page_events_max=self._page_events_max,
            standby_seconds=self._standby_seconds,
        )

    async def _topic(self, topics: Topics) -> TopicDescription:
        wanted = self._kafka.state_topic
        if self._creates_topic:
            await topics.create_missing([wanted])
        found = await topics.describe(wanted.name)
        if self._creates_topic and found and self._topic_id not in {None, found.id}:
            # The embedded broker was started again while our last producer was still sending. It
            # takes records for a topic that it does not know yet, which can never be read.
            await topics.delete(wanted.name)
            await topics.create_missing([wanted])
            found = await topics.describe(wanted.name)
        if found is None:
            detail = f"Topic {wanted.name} is missing: run `customers migrate`."
            raise Unavailable("broker_unavailable", detail)
        self._topic_id = found.id
        return found

    async def _keep_observing(self) -> None:
        while True:
            with suppress(Unavailable, Corrupt):  # the worker itself tells of it
                position = await self._checkpoints.position()
                self._metrics.progress(position, *await self._store.lag(position))
            await asyncio.sleep(OBSERVE_SECONDS)

    def _succeeded(self) -> None:
        self._retry_seconds = RETRY_SECONDS_MIN
        if self._status.phase == "unavailable":
            structlog.get_logger().info("states_go_on")
        if self._status.phase != "running":
            self._enter("running")

    def _enter(self, phase: Phase, problem: str | None = None) -> None:
        self._status = ProjectionStatus(phase, problem)

    async def _wait_to_retry(self, problem: str) -> None:
        self._enter("unavailable", problem)
        if self._in_doubt and self._stop.is_set():
            await asyncio.sleep(self._retry_seconds)  # the limit of `run` ends it
        else:
            await self._pause(self._retry_seconds)
        self._retry_seconds = min(2 * self._retry_seconds, RETRY_SECONDS_MAX)

    async def _pause(self, seconds: float) -> None:
        """Wait, unless stopped."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop.wait()
