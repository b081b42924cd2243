"""Group commit: the writing side of the log.

Invariant: what `append` returns is durable and stands in the log exactly once. Commands that wait
at the same time share one batch: one round trip, one lock, one bump of the head, one fsync. A batch
is whatever waits when the one before returns; there is no timer, so a lone command pays nothing.
Queue and batch are bounded in commands and in bytes, and each event is encoded once, on joining.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, TypeAlias

from service.errors import ConfigurationError, Conflict, ConnectionLost, Corrupt, Unavailable
from service.event_log import SQL, Append, Appended, Replayed
from service.events import Event, Position, RecordedEvent, Version, encode, encode_meta
from service.identifiers import CustomerId, EventKey, event_id, new_event_key
from service.postgres import ConstraintViolated, Postgres
from service.vault import CustomerKey, Vault, blanked, is_personal, place

BATCH_COMMANDS_MAX = 500
BATCH_BYTES_MAX = 4 * 1024 * 1024  # of JSON; a batch has one command in any case
QUEUE_COMMANDS_MAX = 5_000  # beyond this, callers are told to come back
QUEUE_BYTES_MAX = 16 * 1024 * 1024  # the same; 5,000 commands of a usual size are a quarter of it
WRITE_TIMEOUT_SECONDS = 8.0  # from joining the queue to an answer
RECONNECT_DELAY_SECONDS = 0.1
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


class _Stored(NamedTuple):
    """An event as it is stored."""

    data: str  # JSON, with blanks where something is sealed
    sealed: bytes | None


_Answer: TypeAlias = "asyncio.Future[Appended | Replayed]"


@dataclass(slots=True, eq=False)
class _Member:
    append: Append
    answer: _Answer
    ids: list[EventKey]
    events: list[_Stored]
    meta: str
    new_key: CustomerKey | None  # of a customer who is made
    bytes: int  # of events and meta


class _Queue:
    """Who waits for a batch, in the order of joining."""

    def __init__(self) -> None:
        # Invariant: at most QUEUE_COMMANDS_MAX and QUEUE_BYTES_MAX, besides what was put back.
        self._members: deque[_Member] = deque()
        self._bytes = 0

    def __bool__(self) -> bool:
        return bool(self._members)

    def join(self, append: Append, key: CustomerKey | None) -> _Member:
        """Raises Unavailable where there is no room."""
        if len(self._members) < QUEUE_COMMANDS_MAX and self._bytes < QUEUE_BYTES_MAX:
            member = _member(append, key)
            if self._bytes + member.bytes <= QUEUE_BYTES_MAX:
                self._members.append(member)
                self._bytes += member.bytes
                return member
        raise Unavailable("overloaded", "Too many writes are waiting.")

    def put_back(self, members: Sequence[_Member]) -> None:
        """They go first in the next batch, in their order."""
        self._members.extendleft(reversed(members))
        self._bytes += sum(member.bytes for member in members)

    def take_batch(self) -> list[_Member]:
        """Who still waits for an answer; the others gave up before anything was sent."""
        batch: list[_Member] = []
        batch_bytes = 0
        while self._members and len(batch) < BATCH_COMMANDS_MAX:
            member = self._members[0]
            if batch and batch_bytes + member.bytes > BATCH_BYTES_MAX:
                break
            self._members.popleft()
            self._bytes -= member.bytes
            if not member.answer.done():
                batch.append(member)
                batch_bytes += member.bytes
        return batch


class Appender:
    """Appends to the log in batches. `run` must be running for appends to be answered."""

    def __init__(
        self,
        postgres: Postgres,
        vault: Vault,
        observe_batch_size: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._postgres = postgres
        self._vault = vault
        self._observe_batch_size = observe_batch_size
        self._waiting = _Queue()
        self._arrived = asyncio.Event()
        self._stopping = False

    async def append(self, append: Append) -> Appended | Replayed:
        """Append all of the events or none.

        Raises Conflict (`version_conflict`, `email_taken`, `idempotency_key_reused`); Unavailable
        where the queue is full, or where the database did not confirm in time: the outcome is then
        unknown to the caller, and a repeat under the same key settles it.
        """
        if self._stopping:
            raise Unavailable("overloaded", "This process is ending.")
        member = self._waiting.join(append, await self._key(append))
        self._arrived.set()
        loop = asyncio.get_running_loop()
        limit = loop.call_later(WRITE_TIMEOUT_SECONDS, _give_up, member)
        try:
            answer = await member.answer
        finally:
            limit.cancel()
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
                await self._write(batch)

    def stop(self) -> None:
        """Take no new work; `run` returns when what waits is written. Harmless when repeated."""
        self._stopping = True
        self._arrived.set()

    async def _key(self, append: Append) -> CustomerKey | None:
        """To seal the events with; None where they hold nothing personal.

        Raises Conflict where there is none any more: the customer was deleted.
        """
        if not append.expected_version:
            return CustomerKey.new()
        if not any(is_personal(event.type) for event in append.events):
            return None
        customer_id = append.customer_id
        key = self._vault.recall(customer_id)
        if key is None:
            wrapped = await self._postgres.fetch_one(bytes, SQL["customer_key"], customer_id)
            if wrapped is None:
                raise Conflict("version_conflict")
            key = self._vault.unwrap(customer_id, wrapped)
            self._vault.remember(customer_id, key)
        return key

    def _remember(self, member: _Member) -> None:
        """The next change comes soon, as a rule; none follows a deletion."""
        if member.append.closes_stream:
            self._vault.drop(member.append.customer_id)
        elif member.new_key is not None:
            self._vault.remember(member.append.customer_id, member.new_key)

    async def _write(self, batch: list[_Member]) -> None:
        try:
            columns = _columns(batch, self._vault)
            outcomes = await self._postgres.fetch(_Outcome, SQL["append"], *columns)
        except ConnectionLost:
            await self._settle(batch)
        except ConstraintViolated as error:
            await self._write_rewrapped(batch, error)
        except Corrupt as error:
            await self._write_apart(batch, error)
        except Unavailable as error:
            for member in batch:
                _fail(member, error)
        else:
            pairs = zip(batch, outcomes, strict=True)
            self._waiting.put_back([m for m, o in pairs if not _answered(m, o)])

    async def _write_rewrapped(self, batch: list[_Member], error: ConstraintViolated) -> None:
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

    async def _write_apart(self, batch: list[_Member], error: Corrupt) -> None:
        """The database refused a value: only the command that brought it may suffer."""
        if len(batch) == 1:
            _fail(batch[0], error)
            return
        for member in batch:
            await self._write([member])

    async def _settle(self, batch: list[_Member]) -> None:
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


def _member(append: Append, key: CustomerKey | None) -> _Member:
    first_version = append.expected_version + 1
    events = [
        _stored(append.customer_id, event, version, key)
        for version, event in enumerate(append.events, start=first_version)
    ]
    meta = encode_meta(append.meta)
    return _Member(
        append,
        asyncio.get_running_loop().create_future(),
        [new_event_key() for _ in append.events],
        events,
        meta,
        None if append.expected_version else key,
        len(meta) + sum(len(each.data.encode()) + len(each.sealed or b"") for each in events),
    )


def _stored(
    customer_id: CustomerId, event: Event, version: int, key: CustomerKey | None
) -> _Stored:
    data = encode(event)
    blank = blanked(event.type, data)
    if blank is None:
        return _Stored(data, None)
    assert key is not None, "what is personal is sealed"
    where = place(customer_id, event.type, event.schema_version, version)
    return _Stored(blank, key.seal(data.encode(), where))


def _give_up(member: _Member) -> None:
    """A timer of its own for each caller: `asyncio.timeout` costs a twentieth of a whole write."""
    _fail(member, Unavailable("database_unavailable", "The write was not confirmed."))


def _columns(batch: Sequence[_Member], vault: Vault) -> tuple[object, ...]:
    """The arguments of log.append: an array for each field of the members, then of the events;
    then which key has wrapped, where one has."""
    members: list[tuple[object, ...]] = []
    events: list[tuple[object, ...]] = []
    seen: set[tuple[str, str, str]] = set()
    for number, member in enumerate(batch, start=1):
        append = member.append
        key = append.key
        marks: list[tuple[str, str, str]] = [("stream", append.tenant, append.customer_id)]
        claim = _claim(vault, append.tenant, append.claim_email)
        release = _claim(vault, append.tenant, append.release_email)
        marks.extend(("email", append.tenant, each) for each in (claim, release) if each)
        if key is not None:
            marks.append(("key", append.tenant, key.key))
        members.append(
            (
                append.tenant,
                append.customer_id,
                append.expected_version,
                len(append.events),
                append.closes_stream,
                claim,
                release,
                key.key if key else None,
                key.fingerprint if key else None,
                key.status if key else None,
                key.subject if key else None,
                member.meta,
                member.new_key and vault.wrap(append.customer_id, member.new_key),
                not seen.isdisjoint(marks),
            )
        )
        seen.update(marks)
        rows = zip(member.ids, append.events, member.events, strict=True)
        for number_in_member, (event_key, event, stored) in enumerate(rows, start=1):
            kind = (event.type, event.schema_version)
            events.append((number, number_in_member, event_key, *kind, *stored))
    event_columns = zip(*events, strict=True) if events else ((),) * 7
    columns = [list(column) for column in (*zip(*members, strict=True), *event_columns)]
    wrapping = vault.wrapping_id if any(member.new_key for member in batch) else None
    return (*columns, wrapping)


def _claim(vault: Vault, tenant: str, email: str | None) -> str | None:
    return None if email is None else vault.claim(tenant, email)


def _answered(member: _Member, outcome: _Outcome) -> bool:
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


def _succeed(member: _Member, version: int, position: int, time: datetime) -> None:
    append = member.append
    count = len(append.events)
    recorded = tuple(
        RecordedEvent(
            position=Position(position - count + place),
            id=event_id(key),
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


def _fail(member: _Member, error: Exception) -> None:
    if not member.answer.done():
        member.answer.set_exception(error)
