"""Group commit: the writing side of the log.

Invariant: what `append` returns is durable and stands in the log exactly once. Commands that wait
at the same time share one batch: one round trip, one lock, one bump of the head, one fsync. A batch
is whatever waits when the one before returns; there is no timer, so a lone command pays nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

from service.appender.columns import columns
from service.appender.deadlines import Deadlines
from service.appender.queue import Member, Queue
from service.appender.spans import AppendSpans, CommandSpan
from service.errors import (
    ConfigurationError,
    Conflict,
    ConnectionLost,
    Corrupt,
    RightMissing,
    RolledBack,
    Unavailable,
)
from service.event_log import SQL, Append, Appended, Replayed
from service.events import Position, RecordedEvent, Version
from service.identifiers import CustomerId
from service.postgres import ConstraintViolated, Postgres
from service.vault import CustomerKey, Vault, is_personal

RECONNECT_DELAY_SECONDS = 0.1
ROLLED_BACK_DELAY_SECONDS = 0.05  # so that what is refused at once does not keep two sides busy
WRAPPING_KEY_RETIRED = "wrapping_key_retired"  # log.append raises it

_CONFLICTS = {
    "version_conflict": "version_conflict",
    "email_taken": "email_taken",
    "key_reused": "idempotency_key_reused",
}


class _Outcome(NamedTuple):
    member: int
    outcome: str
    version: int
    position: int | None
    time: datetime
    customer_id: str | None
    status: int | None
    subject: str | None


class _Found(NamedTuple):
    member: int
    version: int
    position: int
    time: datetime


class _HeldKey(NamedTuple):
    wrapped: bytes | None
    is_destroyed: bool


class Appender:
    """Appends to the log in batches. `run` must be running for appends to be answered."""

    def __init__(
        self,
        postgres: Postgres,
        vault: Vault,
        observe_batch_size: Callable[[int], None] = lambda _: None,
        spans: AppendSpans | None = None,
    ) -> None:
        self._postgres = postgres
        self._vault = vault
        self._observe_batch_size = observe_batch_size
        self._spans = spans
        self._traced: dict[Member, CommandSpan] = {}  # of those that wait
        self._waiting = Queue()
        self._deadlines = Deadlines(_give_up)
        self._arrived = asyncio.Event()
        self._stopping = False

    async def append(self, append: Append) -> Appended | Replayed:
        """Append all of the events or none.

        Raises Conflict (`version_conflict`, `email_taken`, `idempotency_key_reused`); Unavailable
        where the queue is full, or where the database did not confirm in time: the outcome is then
        unknown to the caller, and a repeat under the same key settles it.
        """
        key = await self._key(append)
        # Invariant: no await from here to the join, so nobody joins once `run` has returned.
        if self._stopping:
            raise Unavailable("overloaded", "This process is ending.")
        member = self._waiting.join(append, key)
        if self._spans is not None:
            self._trace(member, self._spans)
        self._arrived.set()
        self._deadlines.wait(member)
        try:
            answer = await member.answer
        finally:
            self._deadlines.forget(member)
        self._remember(member)
        return answer

    async def run(self) -> None:
        """Write batches until stopped; then what still waits; then return."""
        while self._waiting or not self._stopping:
            if not self._waiting:
                self._arrived.clear()
                await self._arrived.wait()
            if batch := self._waiting.take_batch():
                self._observe_batch_size(len(batch))
                if self._traced:
                    await self._write_traced(batch)
                else:
                    await self._write(batch)

    def stop(self) -> None:
        """Take no new work; `run` returns when what waits is written. Harmless when repeated."""
        self._stopping = True
        self._arrived.set()

    def _trace(self, member: Member, spans: AppendSpans) -> None:
        """Until it is answered, whoever answers it."""
        span = spans.command(member.append.meta.traceparent)
        if span is not None:
            self._traced[member] = span
            member.answer.add_done_callback(span.end)
            member.answer.add_done_callback(lambda _: self._traced.pop(member))

    async def _write_traced(self, batch: list[Member]) -> None:
        assert self._spans is not None, "commands are traced"
        spans = [span for each in batch if (span := self._traced.get(each)) is not None]
        traceparents = [each.traceparent for each in spans]
        with self._spans.batch(traceparents, len(batch) if spans else 0) as traceparent:
            if traceparent is not None:
                for each in spans:
                    each.goes_with(traceparent)
            await self._write(batch)

    async def _key(self, append: Append) -> CustomerKey | None:
        """To seal the events with; None where they hold nothing personal.

        Raises Conflict where it is destroyed: the customer was deleted. Raises Corrupt where it is
        lost.
        """
        if not append.expected_version:
            return CustomerKey.new()
        if not any(is_personal(event.type) for event in append.events):
            return None
        customer_id = append.customer_id
        key = self._vault.recall(customer_id)
        if key is None:
            held = await self._postgres.fetch_one(_HeldKey, SQL["customer_key"], customer_id)
            if held is None:
                raise Conflict("version_conflict")
            if held.wrapped is None:
                if held.is_destroyed:
                    raise Conflict("version_conflict")
                raise Corrupt(f"the key of {customer_id} is lost, and it was not deleted")
            key = self._vault.unwrap(customer_id, held.wrapped)
            self._vault.remember(customer_id, key)
        return key

    def _remember(self, member: Member) -> None:
        """The next change comes soon, as a rule; none follows a deletion."""
        if member.append.closes_stream:
            self._vault.drop(member.append.customer_id)
        elif member.new_key is not None:
            self._vault.remember(member.append.customer_id, member.new_key)

    async def _write(self, batch: list[Member]) -> None:
        try:
            arguments = columns(batch, self._vault)
            outcomes = await self._postgres.fetch(_Outcome, SQL["append"], *arguments)
        except ConnectionLost:
            await self._settle(batch)
        except ConstraintViolated as error:
            await self._write_rewrapped(batch, error)
        except Corrupt as error:
            await self._write_apart(batch, error)
        except RolledBack:
            # Nothing was written, and mostly for the sake of one member. It ends because every
            # member's caller gives up after WRITE_TIMEOUT_SECONDS.
            await asyncio.sleep(ROLLED_BACK_DELAY_SECONDS)
            self._waiting.put_back(batch)
        except (Unavailable, RightMissing) as error:
            for member in batch:
                _fail(member, error)
        else:
            pairs = zip(batch, outcomes, strict=True)
            self._waiting.put_back([m for m, o in pairs if not _answered(m, o)])

    async def _write_rewrapped(self, batch: list[Member], error: ConstraintViolated) -> None:
        """The master key is being rotated: wrap by the key that wraps now, and send it again."""
        if error.constraint != WRAPPING_KEY_RETIRED:
            await self._write_apart(batch, error)
            return
        try:
            wrapping_id = await self._postgres.fetch_one(bytes, SQL["wrapping_key"])
            if wrapping_id is not None:
                self._vault.wrap_by(wrapping_id)
        except (Unavailable, ConfigurationError) as outdated:
            for member in batch:
                _fail(member, outdated)
        else:
            self._waiting.put_back(batch)

    async def _write_apart(self, batch: list[Member], error: Corrupt) -> None:
        """The database refused a value: only the command that brought it may suffer."""
        if len(batch) == 1:
            _fail(batch[0], error)
            return
        for member in batch:
            await self._write([member])

    async def _settle(self, batch: list[Member]) -> None:
        """The link broke, so the batch may have been committed: find out, then send the rest again.

        Ends because every member's caller gives up after WRITE_TIMEOUT_SECONDS.
        """
        while members := [member for member in batch if not member.answer.done()]:
            customers = [member.append.customer_id for member in members]
            last_ids = [member.ids[-1] if member.ids else None for member in members]
            try:
                found = await self._postgres.fetch(
                    _Found, SQL["find_appended"], customers, last_ids
                )
            except Unavailable:
                await asyncio.sleep(RECONNECT_DELAY_SECONDS)
                continue
            committed = {row.member: row for row in found}
            for number, member in enumerate(members, start=1):
                if (row := committed.get(number)) is not None:
                    _succeed(member, row.version, row.position, row.time)
            self._waiting.put_back([each for each in members if not each.answer.done()])
            return


def _give_up(member: Member) -> None:
    _fail(member, Unavailable("database_unavailable", "The write was not confirmed."))


def _answered(member: Member, outcome: _Outcome) -> bool:
    """Give the member its answer; False where it has to be sent again."""
    match outcome.outcome:
        case "again":
            return False
        case "appended":
            _succeed(member, outcome.version, outcome.position or 0, outcome.time)
        case "replayed":
            if not member.answer.done():
                member.answer.set_result(
                    Replayed(
                        CustomerId(outcome.customer_id or ""),
                        Version(outcome.version),
                        Position(outcome.position or 0),
                        outcome.status or 0,
                        outcome.subject,
                    )
                )
        case refused:
            _fail(member, Conflict(_CONFLICTS[refused]))
    return True


def _succeed(member: Member, version: int, position: int, time: datetime) -> None:
    append = member.append
    count = len(append.events)
    recorded = tuple(
        RecordedEvent(
            position=Position(position - count + place),
            key=key.bytes,
            tenant=append.tenant,
            customer_id=append.customer_id,
            version=Version(version - count + place),
            time=time,
            event=event,
            meta=append.meta,
        )
        for place, (key, event) in enumerate(zip(member.ids, append.events, strict=True), start=1)
    )
    if not member.answer.done():
        member.answer.set_result(Appended(Version(version), Position(position), time, recorded))


def _fail(member: Member, error: Exception) -> None:
    if not member.answer.done():
        member.answer.set_exception(error)
