"""What the states are made of: whom a page of the log is about, and what is shown of them now.

Invariants: events are not opened, only counted: a state is what the read model shows. How far a
topic holds the states is moved only from the position that its writer last saw, in that very topic.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from projections.checkpoint import LOG_PARTITION, Projection
from service.errors import ConfigurationError, Corrupt
from service.event_log import EventLog
from service.kafka import State
from service.postgres import Postgres, load_statements

STATES = Projection("states", 1)
OUTDATED_MAX = 500  # sent at once
DOCUMENTS_BYTES_MAX = 1_048_576  # read, and sent, at once; or one document, if it is larger

SQL = load_statements("projections", "states.sql")
_KEY = (STATES.name, STATES.version, LOG_PARTITION)


class Place(NamedTuple):
    """The topic holds the states of everybody whom events up to `position` are about."""

    epoch: str
    topic_id: str
    position: int


class Span(NamedTuple):
    """The positions after the one and up to the other."""

    after: int
    until: int


NOWHERE = Span(0, 0)


class Outdated(NamedTuple):
    """A customer whose state is older than what is shown, although no event says so."""

    customer_id: str
    amendment: int


class Touched(NamedTuple):
    """An event, as far as states go: whose it is, and when it was recorded."""

    position: int
    customer_id: str
    time: datetime


class StateStore:
    """Reads log and read model, and keeps the place of the states."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    async def take_over(self, epoch: str, topic_id: str) -> Place:
        """Where to go on in this topic: at the beginning, where it was made anew.

        Raises ConfigurationError where it holds the states of another log.
        """
        position = await self._postgres.fetch_one(int, SQL["take_over"], *_KEY, epoch, topic_id)
        if position is None:
            raise ConfigurationError(
                f"the topic of states holds another log's (here epoch {epoch}):"
                " delete it, and run `customers migrate`"
            )
        return Place(epoch, topic_id, position)

    async def position(self, place: Place) -> int | None:
        """How far this topic's states are now; None where another topic has replaced it."""
        return await self._postgres.fetch_one(
            int, SQL["position"], *_KEY, place.epoch, place.topic_id
        )

    async def move(self, place: Place, last: Touched) -> Place | None:
        """The place after this event; None where it was another one already: nothing is done."""
        moved = await self._postgres.fetch_one(
            int, SQL["move"], *_KEY, *place, last.position, last.time
        )
        return None if moved is None else place._replace(position=moved)

    async def shown(self, epoch: str) -> int:
        """Up to where the read model shows this log."""
        return await self._postgres.fetch_one(int, SQL["shown"], epoch) or 0

    async def page(self, span: Span) -> Sequence[Touched]:
        """All events of a span that the read model shows. Raises Corrupt where one is missing,
        EventsArchived where it is in the archive."""
        page = await self._postgres.fetch(Touched, SQL["page"], *span)
        if len(page) != span.until - span.after:
            await EventLog(self._postgres).require(span.after)
            raise Corrupt(
                f"position {span.until} is shown and the log lacks events after {span.after}:"
                " the log was set back. Restore it whole"
            )
        return page

    async def archived_customers(self, after: str, archived_to: int) -> Sequence[str]:
        """A page of those whose last event is archived, after one of them."""
        return await self._postgres.fetch(
            str, SQL["archived_customers"], after, archived_to, OUTDATED_MAX
        )

    async def states(
        self, customer_ids: Sequence[str], left_out: Span = NOWHERE
    ) -> AsyncIterator[Sequence[State]]:
        """What is shown now of these customers, in bites that are bounded in bytes.

        Whose last event lies in `left_out` is left out, and so is who was never shown.
        """
        after = ""
        while True:
            async with self._postgres.transaction() as transaction:
                await transaction.execute(SQL["no_scans"])
                bite = await transaction.fetch(
                    State, SQL["states"], customer_ids, after, DOCUMENTS_BYTES_MAX, *left_out
                )
            if not bite:
                return
            yield bite
            after = bite[-1].customer_id

    async def outdated(self) -> Sequence[Outdated]:
        """Those who were released, and whose state was not sent since; the first of them."""
        return await self._postgres.fetch(Outdated, SQL["outdated"], OUTDATED_MAX)

    async def brought_up_to_date(self, sent: Sequence[Outdated]) -> None:
        """Their states, as they were read since, are acknowledged."""
        columns = [each.customer_id for each in sent], [each.amendment for each in sent]
        await self._postgres.execute(SQL["brought_up_to_date"], *columns)

    async def lag(self, position: int) -> tuple[int, float]:
        """How many events of the log come after this one, and the age of the oldest in seconds."""
        head = await EventLog(self._postgres).head()
        if head.position <= position:
            return 0, 0.0
        recorded_at = await self._postgres.fetch_one(_time, SQL["recorded_at"], position + 1)
        since = recorded_at or head.time
        return head.position - position, max(0.0, (datetime.now(UTC) - since).total_seconds())


def _time(time: datetime) -> datetime:
    return time
