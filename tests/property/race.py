"""Appends that race: wishes, and two processes that have many of them fulfilled at once.

Invariant: a wish is made from what the log holds before its round, as a caller would; what the
others of its round do to that is not known to it.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import TypeAlias

import hypothesis.strategies as st

from service.appender import Appender
from service.customer import fold
from service.errors import Conflict
from service.event_log import Append, Appended, EventLog, Key, Replayed
from service.events import (
    CustomerChanges,
    CustomerCreated,
    CustomerDeleted,
    CustomerTagged,
    CustomerUpdated,
    Event,
    Position,
    RecordedEvent,
    Version,
)
from service.identifiers import CustomerId, new_customer_id
from tests.support.histories import META

Result: TypeAlias = Appended | Replayed | Conflict
EMAILS = ("jane@example.com", "joe@example.com", "jim@example.com")
NUMBERS = count()


@dataclass(frozen=True)
class Wish:
    """An append that somebody will ask for, before it is known what is there by then."""

    kind: str  # create, tag, rename, close, nothing
    email: str
    customer: int  # a number among those that exist
    tags: int
    is_stale: bool
    key: str | None
    writer: int
    tenant: int


WISHES = st.builds(
    Wish,
    kind=st.sampled_from(["create", "create", "tag", "tag", "rename", "close", "nothing"]),
    email=st.sampled_from(EMAILS),
    customer=st.integers(0, 3),
    tags=st.integers(1, 3),
    is_stale=st.integers(0, 9).map(lambda number: number == 9),
    key=st.sampled_from([None, None, "k-1", "k-2", "k-3"]),
    writer=st.integers(0, 1),
    tenant=st.sampled_from([0, 0, 1]),
)
ROUNDS = st.lists(st.lists(WISHES, min_size=2, max_size=12), min_size=2, max_size=5)


@dataclass
class Happened:
    """What was asked for, what became of it, and between which positions of the log."""

    append: Append
    result: Result
    after: int
    before: int

    @property
    def code(self) -> str | None:
        """Of the conflict that it was refused with."""
        return self.result.code if isinstance(self.result, Conflict) else None


@dataclass
class World:
    """The log of some tenants of its own, as two processes write to it."""

    log: EventLog
    writers: Sequence[Appender]
    number: int = field(default_factory=lambda: next(NUMBERS))
    began_at: int = 0
    happened: list[Happened] = field(default_factory=list)

    async def events(self) -> list[RecordedEvent]:
        stored = await self.log.page(Position(self.began_at))
        return [each.decoded() for each in stored]

    async def play(self, wishes: Sequence[Wish]) -> None:
        """All at once."""
        streams = by_customer(await self.events())
        appends = [self.append_of(wish, streams) for wish in wishes]
        after = (await self.log.head()).position
        results = await asyncio.gather(
            *(self._ask(wish, each) for wish, each in zip(wishes, appends, strict=True))
        )
        before = (await self.log.head()).position + 1
        for append, result in zip(appends, results, strict=True):
            self.happened.append(Happened(append, result, after, before))

    async def _ask(self, wish: Wish, append: Append) -> Result:
        try:
            return await self.writers[wish.writer].append(append)
        except Conflict as conflict:
            return conflict

    def append_of(self, wish: Wish, streams: dict[CustomerId, list[RecordedEvent]]) -> Append:
        tenant = f"tenant-{self.number}-{wish.tenant}"
        living = [each for each in streams.values() if each[0].tenant == tenant and lives(each)]
        key = None
        if wish.key is not None:
            print_ = f"{wish.kind} {wish.customer if wish.kind != 'create' else wish.email}"
            key = Key(wish.key, print_.encode(), 201 if wish.kind == "create" else 200)
        if wish.kind == "create" or not living:
            created = CustomerCreated(email=wish.email)
            return Append(
                tenant, new_customer_id(), Version(0), (created,), META, wish.email, key=key
            )
        stream = living[wish.customer % len(living)]
        expected = Version(stream[-1].version - (1 if wish.is_stale else 0))
        held = email_of(stream)
        events: tuple[Event, ...] = ()
        claim, release = None, None
        match wish.kind:
            case "tag":
                events = tuple(CustomerTagged(tags=(f"t{n}",)) for n in range(wish.tags))
            case "rename" if wish.email != held:
                changes = CustomerChanges(email=wish.email)
                events, claim, release = (CustomerUpdated(changes=changes),), wish.email, held
            case "close":
                events, release = (CustomerDeleted(),), held
        closes = wish.kind == "close"
        customer_id = stream[0].customer_id
        return Append(
            tenant,
            customer_id,
            expected,
            events,
            META,
            claim,
            release,
            closes_stream=closes,
            key=key,
        )


def by_customer(events: Sequence[RecordedEvent]) -> dict[CustomerId, list[RecordedEvent]]:
    streams: dict[CustomerId, list[RecordedEvent]] = defaultdict(list)
    for event in events:
        streams[event.customer_id].append(event)
    return dict(streams)


def lives(stream: Sequence[RecordedEvent]) -> bool:
    customer = fold(stream)
    return customer is not None and not customer.is_deleted


def email_of(stream: Sequence[RecordedEvent]) -> str:
    customer = fold(stream)
    assert customer is not None
    return customer.email


def holders(tenant: str, streams: dict[CustomerId, list[RecordedEvent]]) -> dict[str, CustomerId]:
    """Who holds which e-mail address; nobody two people's."""
    living = [each for each in streams.values() if each[0].tenant == tenant and lives(each)]
    held = {email_of(each): each[0].customer_id for each in living}
    assert len(held) == len(living), "two living customers share an e-mail address"
    return held
