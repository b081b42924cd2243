"""The worker that takes orders in: topic to log, what cannot be taken in to the dead letters.

Invariant: an offset is committed only once its message is in the log, or acknowledged as a dead
letter, so whatever breaks loses nothing; what is read again is a repeat. A database or a broker
that is down is waited for, without end. What waits meanwhile is told by looking at the topic, and
never by how far this worker has come: one that cannot write, or has no partition, would tell what
was.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import NamedTuple

from service.errors import Unavailable
from service.event_log import EventLog
from service.kafka import ConsumedRecord, Consumer, KafkaConfig, Producer, TopicCheck, Topics
from service.order_intake.dead_letters import dead_letter, oldest_age_seconds, unsendable
from service.order_intake.message import OrderMessage, Unusable, read_message, traceparent_of
from service.order_intake.observing import IntakeMetrics, IntakeStatus, NoMetrics, Phase
from service.order_intake.recorder import Outcome, Recorder
from service.order_intake.waiting import intake_group, waiting_orders
from service.postgres import Postgres
from service.telemetry import BatchSpans, NoBatchSpans

BATCH_MESSAGES_MAX = 2_000
FETCH_WAIT_SECONDS = 0.1
REVOKE_WAIT_SECONDS = 5.0  # for the batch in hand, before its partitions are given up
OBSERVE_SECONDS = 15.0  # between looks at what waits, and between those at the dead letters
LOOK_SECONDS_MAX = 30.0  # for one of them, whatever the broker does
RETRY_SECONDS_MIN = 0.1
RETRY_SECONDS_MAX = 2.0
SHUTDOWN_TIMEOUT_SECONDS = 10.0

_DETAILS = {
    "version_reused": "orderVersion: accepted before with other content",
    "customer_changed": "customerId: not as in the versions before",
    "unknown_customer": "customerId: unknown",
    "unknown_tenant": "tenant: unknown",
}


class _Batch(NamedTuple):
    """Records as they came, and what each says."""

    records: Sequence[ConsumedRecord]
    messages: Sequence[OrderMessage | Unusable]
    assignment: int  # the one they came under


class _Session(NamedTuple):
    """Links that live and die together."""

    consumer: Consumer
    producer: Producer
    check: TopicCheck


class Intake:
    """Run as many as there are partitions; beyond, they stand by.

    `creates_topics` is for the embedded broker, which forgets its topics with everything else.
    """

    def __init__(
        self,
        postgres: Postgres,
        config: KafkaConfig,
        *,
        metrics: IntakeMetrics | None = None,
        spans: BatchSpans | None = None,
        batch_messages_max: int = BATCH_MESSAGES_MAX,
        creates_topics: bool = False,
        observe_seconds: float = OBSERVE_SECONDS,
        shutdown_timeout_seconds: float = SHUTDOWN_TIMEOUT_SECONDS,
    ) -> None:
        self._recorder = Recorder(postgres)
        self._log = EventLog(postgres)
        self._config = config
        self._metrics = metrics or NoMetrics()
        self._spans = spans or NoBatchSpans()
        self._batch_messages_max = batch_messages_max
        self._creates_topics = creates_topics
        self._observe_seconds = observe_seconds
        self._shutdown_timeout_seconds = shutdown_timeout_seconds
        self._status = IntakeStatus("stopped")
        self._stop = asyncio.Event()
        self._limit: asyncio.Timeout | None = None  # of `run`, set by `stop`
        self._retry_seconds = RETRY_SECONDS_MIN
        self._in_hand = asyncio.Lock()  # held from recording a batch to committing its offsets
        self._assignment = 0  # counts how often partitions were taken away
        self._epoch = ""  # of the log, as of the session begun last
        self._epoch_is_known = asyncio.Event()  # and stays so while the database is down

    @property
    def status(self) -> IntakeStatus:
        return self._status

    async def run(self) -> None:
        """Take in until stopped.

        Raises Corrupt and ConfigurationError where going on would do harm; nothing else ends it.
        """
        try:
            async with asyncio.timeout(None) as self._limit, asyncio.TaskGroup() as group:
                looks = (self._look_at_orders, self._look_at_letters)
                observing = [group.create_task(self._keep_observing(look)) for look in looks]
                while not self._stop.is_set():
                    await self._open_and_work()
                for each in observing:
                    each.cancel()
        except TimeoutError:
            if not self._stop.is_set():
                raise
            # What was in hand did not end in time. Nothing is lost: it will be read again.
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
            async with self._session() as session, asyncio.TaskGroup() as group:
                await self._work(session, group)
        except Unavailable as error:
            await self._failed(error)
        except BaseExceptionGroup as errors:
            first = errors.exceptions[0]
            if not isinstance(first, Unavailable):
                raise first from errors
            await self._failed(first)

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[_Session]:
        """Links of this turn, all or none."""
        config, name = self._config, self._config.orders_topic.name
        epoch = self._epoch = (await self._log.head()).epoch
        self._epoch_is_known.set()
        await self._recorder.probe()  # a right that is missing is not left for the first order
        async with Topics.connect(config) as topics:
            if self._creates_topics:
                await topics.create_missing(config.topics)
            found = await topics.describe(name)
            if found is None:
                raise Unavailable("broker_unavailable", f"There is no topic {name}: run migrate.")
            group_id = intake_group(config, found, epoch)
            async with (
                Producer.connect(config) as producer,
                Consumer.join(
                    config, name, group_id, assigned=None, revoked=self._revoked
                ) as consumer,
            ):
                yield _Session(consumer, producer, TopicCheck(topics, found))

    async def _work(self, session: _Session, group: asyncio.TaskGroup) -> None:
        """The next batch is read while the database works on the one before."""
        batch = await self._next(session)
        while not self._stop.is_set():
            self._succeeded()
            if not batch.records:
                batch = await self._next(session)
                continue
            ahead = group.create_task(self._next(session))
            async with self._in_hand:
                if batch.assignment == self._assignment:  # else it will come again, here or there
                    traceparents = (traceparent_of(each) for each in batch.messages)
                    with self._spans.batch(traceparents, len(batch.records)):
                        await self._take_in(session, batch)
            batch = await ahead

    async def _next(self, session: _Session) -> _Batch:
        await session.check.check()
        records = await session.consumer.fetch(
            wait_seconds=FETCH_WAIT_SECONDS, records_max=self._batch_messages_max
        )
        # No await since the records were given out, or they could be another assignment's.
        messages = [unsendable(each) or read_message(each) for each in records]
        return _Batch(records, messages, self._assignment)

    async def _revoked(self, _: frozenset[int]) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(REVOKE_WAIT_SECONDS):
                await self._in_hand.acquire()
                self._in_hand.release()
        self._assignment += 1

    async def _take_in(self, session: _Session, batch: _Batch) -> None:
        messages = [each for each in batch.messages if isinstance(each, OrderMessage)]
        outcomes = await self._record(messages)
        if outcomes is None:
            return
        letters = _dead(batch, outcomes)
        reasons = Counter[str](unusable.reason for _, unusable in letters)
        done = Counter[str](each for each in outcomes if _unusable(each) is None)
        self._succeeded()
        self._metrics.taken_in(done + reasons)
        if letters:
            now = datetime.now(UTC)
            topic = self._config.orders_dead_letter_topic.name
            records = [dead_letter(record, unusable, now) for record, unusable in letters]
            await session.producer.send_keyed(topic, records)
            for reason, count in reasons.items():
                self._metrics.dead(reason, count)
        await session.consumer.commit({each.partition: each.offset + 1 for each in batch.records})

    async def _record(self, messages: Sequence[OrderMessage]) -> list[Outcome] | None:
        """The database is waited for here, so that no partition is given up for its sake.

        None: stopped before it answered.
        """
        while messages:
            try:
                return await self._recorder.record(messages)
            except Unavailable as error:
                await self._failed(error)
                if self._stop.is_set():
                    return None
        return []

    async def _keep_observing(self, look: Callable[[], Awaitable[None]]) -> None:
        """Where a look fails, what was told before stays."""
        while True:
            with suppress(Unavailable, TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS_MAX):
                    await look()
            await asyncio.sleep(self._observe_seconds)

    async def _look_at_orders(self) -> None:
        await self._epoch_is_known.wait()
        orders = await waiting_orders(self._config, self._epoch, datetime.now(UTC))
        self._metrics.lag(orders.lag_messages)

    async def _look_at_letters(self) -> None:
        age_seconds = await oldest_age_seconds(self._config, datetime.now(UTC))
        self._metrics.oldest_dead_letter(age_seconds)

    async def _failed(self, error: Unavailable) -> None:
        self._metrics.failed(error.code)
        self._enter("unavailable", str(error))
        with suppress(TimeoutError):
            async with asyncio.timeout(self._retry_seconds):
                await self._stop.wait()
        self._retry_seconds = min(2 * self._retry_seconds, RETRY_SECONDS_MAX)

    def _succeeded(self) -> None:
        self._retry_seconds = RETRY_SECONDS_MIN
        if self._status.phase != "running":
            self._enter("running")

    def _enter(self, phase: Phase, problem: str | None = None) -> None:
        self._status = IntakeStatus(phase, problem)


def _dead(batch: _Batch, outcomes: Sequence[Outcome]) -> list[tuple[ConsumedRecord, Unusable]]:
    """The records that could not be taken in, in their order, each with the reason."""
    letters: list[tuple[ConsumedRecord, Unusable]] = []
    judged = iter(outcomes)
    for record, message in zip(batch.records, batch.messages, strict=True):
        if isinstance(message, Unusable):
            letters.append((record, message))
        elif (unusable := _unusable(next(judged))) is not None:
            letters.append((record, unusable))
    return letters


def _unusable(outcome: Outcome) -> Unusable | None:
    match outcome:
        case "recorded" | "older" | "repeated":
            return None
        case "refused":
            return Unusable("invalid_message", "value: refused by the database")
        case reason:
            return Unusable(reason, _DETAILS[reason])
