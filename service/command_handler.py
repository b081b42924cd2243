"""Read, fold, decide, append: how a command becomes events.

Invariants: a command is decided on the state that the append then compares-and-sets, so nothing
is overwritten unseen. A stored key answers before a command is refused or found to change nothing.
Losing a race without `If-Match` means deciding anew on the new state, a bounded number of times.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import NamedTuple, Protocol

from service.customer import (
    Command,
    CreateCustomer,
    Customer,
    DeleteCustomer,
    decide,
    emails,
    evolve,
    unread,
)
from service.errors import (
    Conflict,
    Corrupt,
    EventsArchived,
    NotFound,
    PreconditionFailed,
    Rejected,
)
from service.event_log import Append, Appended, Key, Replayed, StreamHead
from service.events import Event, Meta, Position, RecordedEvent, Version
from service.identifiers import CustomerId
from service.snapshots import Snapshot
from service.state_cache import StateCache
from service.turns import Turns

ATTEMPTS_MAX = 10  # of one command against a stream that others write to


class Log(Protocol):
    """What is read of the log."""

    async def stream_and_key(
        self, tenant: str, customer_id: CustomerId, key: str | None
    ) -> tuple[StreamHead | None, tuple[bytes, Replayed] | None]: ...

    def folding(
        self, tenant: str, customer_id: CustomerId, *, after: Version = ...
    ) -> AsyncIterator[Snapshot | RecordedEvent]: ...


class Writer(Protocol):
    """What appends to the log."""

    async def append(self, append: Append) -> Appended | Replayed: ...


class Request(NamedTuple):
    """A command with who asks, and on what conditions.

    `expected_versions`: from `If-Match`; None = any state will do.
    """

    tenant: str
    customer_id: CustomerId
    command: Command
    meta: Meta
    expected_versions: frozenset[int] | None = None
    key: Key | None = None


class Written(NamedTuple):
    """The customer as answered; of a replay, `status` and `subject` as first answered."""

    customer: Customer
    position: Position
    status: int | None = None
    subject: str | None = None
    is_replayed: bool = False


class CommandHandler:
    """Handles commands of one process. Safe to call from many tasks at once."""

    def __init__(self, log: Log, writer: Writer) -> None:
        self._log = log
        self._writer = writer
        self._states = StateCache()
        # Invariant: commands of this process on one customer take turns, so they never race.
        self._turns: Turns[CustomerId] = Turns()
        self._keys_in_flight: set[tuple[str, str]] = set()

    async def handle(self, request: Request) -> Written:
        """Carry out a command.

        Raises Rejected, NotFound, PreconditionFailed, Unavailable, and Conflict (`email_taken`,
        `version_conflict`, `idempotency_key_reused`, `idempotency_in_flight`).
        """
        if request.key is None:
            return await self._carry_out(request)
        mark = (request.tenant, request.key.key)
        if mark in self._keys_in_flight:
            raise Conflict("idempotency_in_flight")
        self._keys_in_flight.add(mark)
        try:
            return await self._carry_out(request)
        finally:
            self._keys_in_flight.remove(mark)

    async def _carry_out(self, request: Request) -> Written:
        if isinstance(request.command, CreateCustomer):
            return await self._create(request)
        async with self._turns.take(request.customer_id):
            return await self._change(request)

    async def _create(self, request: Request) -> Written:
        events = decide(None, request.command)
        result = await self._writer.append(_append(request, None, events))
        if isinstance(result, Replayed):
            head, _ = await self._log.stream_and_key(request.tenant, result.customer_id, None)
            return await self._replay(request, head, result)
        return self._written(None, result)

    async def _change(self, request: Request) -> Written:
        if (written := await self._change_as_remembered(request)) is not None:
            return written
        for _ in range(ATTEMPTS_MAX):
            key = request.key.key if request.key else None
            head, known = await self._log.stream_and_key(request.tenant, request.customer_id, key)
            if known is not None and request.key is not None:
                fingerprint, replayed = known
                if fingerprint != request.key.fingerprint:
                    raise Conflict("idempotency_key_reused")
                return await self._replay(request, head, replayed)
            try:
                return await self._attempt(request, head)
            except (NotFound, PreconditionFailed, Rejected):
                if not await self._was_done_meanwhile(request):
                    raise
            except Conflict as conflict:
                if conflict.code != "version_conflict":
                    raise
        raise Conflict("version_conflict")

    async def _was_done_meanwhile(self, request: Request) -> bool:
        """The state that refuses may be newer than the look at the key, and what was done under
        the key between the two may be the reason why it refuses."""
        if request.key is None:
            return False
        _, known = await self._log.stream_and_key(
            request.tenant, request.customer_id, request.key.key
        )
        return known is not None

    async def _change_as_remembered(self, request: Request) -> Written | None:
        """Decide on the state in memory, without a look at the log: the append finds out whether
        it is still the present one, the tenant's, and whether the key is known.

        None: it takes a look. So does everything but a change, which must be true of the present.
        """
        customer = self._states.get(request.customer_id)
        expected = request.expected_versions
        if customer is None or (expected is not None and customer.version not in expected):
            return None
        try:
            events = decide(customer, request.command)
            if not events:
                return None
            result = await self._writer.append(_append(request, customer, events))
        except (NotFound, Rejected):
            return None
        except Conflict as conflict:
            if conflict.code != "version_conflict":
                raise
            return None
        if isinstance(result, Replayed):
            head, _ = await self._log.stream_and_key(request.tenant, request.customer_id, None)
            return await self._replay(request, head, result)
        return self._written(customer, result)

    async def _attempt(self, request: Request, head: StreamHead | None) -> Written:
        customer, position = await self._load(request, head)
        expected = request.expected_versions
        if expected is not None and customer.version not in expected:
            raise PreconditionFailed(customer.version)
        events = decide(customer, request.command)
        if not events and request.key is None:
            return Written(customer, position)
        result = await self._writer.append(_append(request, customer, events))
        if isinstance(result, Replayed):
            return await self._replay(request, head, result)
        return self._written(customer, result)

    async def _load(self, request: Request, head: StreamHead | None) -> tuple[Customer, Position]:
        """The state to decide on. Who cannot be read can still be forgotten: a deletion needs to
        know no more than where the stream stands."""
        if head is None:
            raise NotFound("customer_not_found")
        if head.is_closed:
            raise NotFound("customer_deleted")
        try:
            return await self._read(request.tenant, request.customer_id, head)
        except (Corrupt, EventsArchived):
            if not isinstance(request.command, DeleteCustomer):
                raise
            return unread(request.customer_id, head.version), head.position

    async def _read(
        self, tenant: str, customer_id: CustomerId, head: StreamHead
    ) -> tuple[Customer, Position]:
        """The state at the stream's head or later, and the position of its last event; from
        memory where that is the head's."""
        customer = self._states.get(customer_id)
        if customer is not None and customer.version == head.version:
            return customer, head.position
        after = customer.version if customer is not None else Version(0)
        position = head.position
        async for event in self._log.folding(tenant, customer_id, after=after):
            customer = evolve(customer, event)
            position = event.position
        if customer is None:
            raise Corrupt(f"the stream of {customer_id} has no events")
        if customer.is_deleted:
            raise NotFound("customer_deleted")
        self._states.keep(customer)
        return customer, position

    async def _replay(
        self, request: Request, head: StreamHead | None, replayed: Replayed
    ) -> Written:
        """The state that was answered then: the fold of the stream up to that version."""
        is_deletion = isinstance(request.command, DeleteCustomer)
        if head is not None and head.is_closed and not is_deletion:
            raise NotFound("customer_deleted")
        try:
            customer = await self._as_answered(request, replayed)
        except (Corrupt, EventsArchived, NotFound):
            if not is_deletion:
                raise
            customer = unread(replayed.customer_id, replayed.version)
        return Written(customer, replayed.position, replayed.status, replayed.subject, True)

    async def _as_answered(self, request: Request, replayed: Replayed) -> Customer:
        customer: Customer | None = None
        is_deletion = isinstance(request.command, DeleteCustomer)
        async for event in self._log.folding(request.tenant, replayed.customer_id):
            if event.version > replayed.version:
                if isinstance(event, Snapshot):
                    raise EventsArchived(event.position)
                break
            if isinstance(event, RecordedEvent) and event.is_forgotten and not is_deletion:
                raise NotFound("customer_deleted")
            customer = evolve(customer, event)
        if customer is None:
            raise Corrupt(f"the stream of {replayed.customer_id} has no events")
        return customer

    def _written(self, customer: Customer | None, appended: Appended) -> Written:
        for event in appended.events:
            customer = evolve(customer, event)
        assert customer is not None
        self._states.keep(customer)
        return Written(customer, appended.position)


def _append(request: Request, customer: Customer | None, events: tuple[Event, ...]) -> Append:
    claim, release = emails(customer, events)
    return Append(
        tenant=request.tenant,
        customer_id=request.customer_id,
        expected_version=customer.version if customer else Version(0),
        events=events,
        meta=request.meta,
        claim_email=claim,
        release_email=release,
        closes_stream=isinstance(request.command, DeleteCustomer),
        key=request.key,
    )
