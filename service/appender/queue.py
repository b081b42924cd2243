"""Commands that wait for a batch, each with its events encoded and sealed.

Invariant: queue and batch are bounded in commands and in bytes. Each event is encoded once, on
joining; what is personal in it leaves this process only sealed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from service.errors import Unavailable
from service.event_log import Append, Appended, Replayed
from service.events import Event, as_written, encode, encode_meta, written_version
from service.identifiers import CustomerId, EventKey, new_event_key
from service.vault import CustomerKey, blanked, place

BATCH_COMMANDS_MAX = 500
BATCH_BYTES_MAX = 4 * 1024 * 1024  # of JSON; a batch has one command in any case
QUEUE_COMMANDS_MAX = 5_000  # beyond this, callers are told to come back
QUEUE_BYTES_MAX = 16 * 1024 * 1024  # the same; 5,000 commands of a usual size are a quarter of it


Answer: TypeAlias = "asyncio.Future[Appended | Replayed]"


class Stored(NamedTuple):
    """An event as it is stored."""

    type: str
    schema_version: int
    data: str  # JSON, with blanks where something is sealed
    sealed: bytes | None


@dataclass(slots=True, eq=False)
class Member:
    """One command that waits, and the answer it waits for."""

    append: Append
    answer: Answer
    ids: list[EventKey]
    events: list[Stored]
    meta: str
    new_key: CustomerKey | None  # of a customer who is made
    bytes: int  # of events and meta


class Queue:
    """Who waits for a batch, in the order of joining."""

    def __init__(self) -> None:
        # Invariant: at most QUEUE_COMMANDS_MAX and QUEUE_BYTES_MAX, besides what was put back.
        self._members: deque[Member] = deque()
        self._bytes = 0

    def __bool__(self) -> bool:
        return bool(self._members)

    def join(self, append: Append, key: CustomerKey | None) -> Member:
        """Raises Unavailable where there is no room."""
        if len(self._members) < QUEUE_COMMANDS_MAX and self._bytes < QUEUE_BYTES_MAX:
            member = member_of(append, key)
            if self._bytes + member.bytes <= QUEUE_BYTES_MAX:
                self._members.append(member)
                self._bytes += member.bytes
                return member
        raise Unavailable("overloaded", "Too many writes are waiting.")

    def put_back(self, members: Sequence[Member]) -> None:
        """They go first in the next batch, in their order."""
        self._members.extendleft(reversed(members))
        self._bytes += sum(member.bytes for member in members)

    def take_batch(self) -> list[Member]:
        """Who still waits for an answer; the others gave up before anything was sent. Of those who
        wait at the same time, none was first."""
        batch: list[Member] = []
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
        _order_deletions(batch)
        return batch


def _order_deletions(batch: list[Member]) -> None:
    """In the places that they have. Invariant: they are by customer, as a rotation takes keys, so
    that neither waits for the other with what that one waits for: log.append locks the keys of
    customers who are deleted, in the order of the members."""
    places = [place for place, member in enumerate(batch) if member.append.closes_stream]
    if len(places) > 1:
        deletions = sorted((batch[place] for place in places), key=_customer_of)
        for place, member in zip(places, deletions, strict=True):
            batch[place] = member


def _customer_of(member: Member) -> CustomerId:
    return member.append.customer_id


def member_of(append: Append, key: CustomerKey | None) -> Member:
    first_version = append.expected_version + 1
    events = [
        _stored(append.customer_id, event, version, key)
        for version, event in enumerate(append.events, start=first_version)
    ]
    meta = encode_meta(append.meta)
    return Member(
        append,
        asyncio.get_running_loop().create_future(),
        [new_event_key() for _ in append.events],
        events,
        meta,
        None if append.expected_version else key,
        _bytes(meta, events),
    )


def _bytes(meta: str, events: Sequence[Stored]) -> int:
    size = len(meta)
    for event in events:
        data = event.data
        size += len(data) if data.isascii() else len(data.encode())
        if event.sealed is not None:
            size += len(event.sealed)
    return size


def _stored(customer_id: CustomerId, event: Event, version: int, key: CustomerKey | None) -> Stored:
    data = encode(event)
    kind = (event.type, written_version(event))
    blank = blanked(event.type, data)
    if blank is None:
        return Stored(*kind, as_written(event, data), None)
    assert key is not None, "what is personal is sealed"
    sealed = key.seal(as_written(event, data).encode(), place(customer_id, *kind, version))
    return Stored(*kind, as_written(event, blank), sealed)
