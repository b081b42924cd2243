"""Writes the states into one topic, a page of the log after the other.

Invariants: a place is moved only after every acknowledgement. What was sent, and may lie after a
newer state that another writer sent, is in doubt: it is sent again until what was acknowledged last
is what is shown, and then whoever sends a newer state does so after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Protocol

from projections.state_store import NOWHERE, Place, Span, StateStore, Touched
from service.errors import Unavailable
from service.kafka import Record, State, TopicDescription, partition_for, state_record, sweep_record

PAGE_EVENTS_MAX = 500
MEND_ROUNDS_MAX = 50  # a customer who changes in every one of them will change again
# Between looks at whether the read model shows more; its move cannot be heard. Changes are gathered
# for as long: of a customer who changes several times only the last state is sent.
POLL_SECONDS = 0.25
STANDBY_SECONDS = 1.0  # between looks at whether the writer that is ahead still moves


class Sender(Protocol):
    """What is used of a producer."""

    async def send(
        self, topic: str, records: Mapping[int, Sequence[Record]]
    ) -> Mapping[int, int]: ...


class StateWriter:
    """Writes on from one place, which only this writer moves unless a rival shows up.

    `head` is where the log ended when the place was read, at the earliest; up to `archived_to` its
    events are archived. `in_doubt` is the caller's, who gives it to the next writer.
    """

    def __init__(
        self,
        store: StateStore,
        producer: Sender,
        topic: TopicDescription,
        place: Place,
        head: int,
        in_doubt: set[str],
        *,
        archived_to: int = 0,
        page_events_max: int = PAGE_EVENTS_MAX,
        standby_seconds: float = STANDBY_SECONDS,
    ) -> None:
        self._store = store
        self._producer = producer
        self._topic = topic
        self._place = place
        self._head = head
        self._archived_to = archived_to
        self._in_doubt = in_doubt
        self._page_events_max = page_events_max
        self._standby_seconds = standby_seconds
        self._has_rival = False

    @property
    def pause_seconds(self) -> float:
        """How long to wait where a page was not full, or there was none."""
        return self._standby_seconds if self._has_rival else POLL_SECONDS

    async def write(self) -> int:
        """Write the next page; how many events it had. 0: there is none, or a rival writes it.

        Raises Unavailable, which ends this writer, and Corrupt.
        """
        await self.mend()
        if self._has_rival:
            await self._look_for_rival()
        start = self._place.position
        shown = await self._store.shown(self._place.epoch)
        span = Span(start, min(shown, start + self._page_events_max))
        if self._has_rival:
            return 0
        await self._write_outdated()
        if start < self._archived_to <= shown:
            return await self._write_archived()
        if span.until <= start:
            return 0
        page = await self._store.page(span)
        await self._write({each.customer_id for each in page}, span.until)
        moved = await self._store.move(self._place, page[-1])
        if moved is None:
            self._has_rival = True
            return 0  # what is in doubt is mended next
        self._place = moved
        self._in_doubt.clear()
        return len(page)

    async def sweep(self) -> None:
        """Append to each partition, so that Kafka compacts what lies before. Raises Unavailable."""
        epoch, time = self._place.epoch.encode(), datetime.now(UTC)
        records = {n: [sweep_record(n, epoch, time)] for n in range(self._topic.partitions)}
        await self._producer.send(self._topic.name, records)

    async def mend(self) -> None:
        """Write once more what is in doubt, and nothing else. Raises Unavailable."""
        if self._in_doubt:
            await self._mend()

    async def _write_outdated(self) -> None:
        """Who was released is written as what is in doubt is: until it is what is shown."""
        outdated = await self._store.outdated()
        if outdated:
            self._in_doubt |= {each.customer_id for each in outdated}
            await self._mend()
            await self._store.brought_up_to_date(outdated)

    async def _write_archived(self) -> int:
        """A topic that was made anew, of a log whose beginning is archived: no page of the log
        says whose the events were, so everybody is written who has none since."""
        count, after = 0, ""
        while page := await self._store.archived_customers(after, self._archived_to):
            self._in_doubt |= set(page)
            await self._mend()
            count, after = count + len(page), page[-1]
        last = Touched(self._archived_to, "", datetime.fromtimestamp(0, UTC))
        moved = await self._store.move(self._place, last)
        self._has_rival = moved is None
        self._place = moved or self._place
        return count

    async def _write(self, customer_ids: set[str], end: int) -> None:
        """Leaves out whom a later page speaks of, among those that were there at the beginning.

        Those that came since do not count: else a customer who changes all the time would never
        be written. One who is parked has an older row, which is never left out.
        """
        self._in_doubt |= customer_ids
        async for states in self._store.states(sorted(customer_ids), Span(end, self._head)):
            await self._send(states)

    async def _mend(self) -> None:
        customer_ids = sorted(self._in_doubt)
        sent: dict[str, int] = {}
        for _ in range(MEND_ROUNDS_MAX):
            has_changed = False
            async for states in self._store.states(customer_ids, NOWHERE):
                newer = [each for each in states if sent.get(each.customer_id) != each.version]
                await self._send(newer)
                sent |= {each.customer_id: each.version for each in newer}
                has_changed = has_changed or bool(newer)
            if not has_changed:
                break
        self._in_doubt.clear()

    async def _send(self, states: Iterable[State]) -> None:
        epoch = self._place.epoch.encode()
        placed: dict[int, list[Record]] = {}
        for state in states:
            key = state.customer_id.encode()
            partition = partition_for(key, self._topic.partitions)
            placed.setdefault(partition, []).append(state_record(state, key, epoch))
        await self._producer.send(self._topic.name, placed)

    async def _look_for_rival(self) -> None:
        """Whoever has moved the place is left to it, until it no longer moves."""
        position = await self._store.position(self._place)
        if position is None:
            detail = f"Topic {self._topic.name} was deleted or made again."
            raise Unavailable("broker_unavailable", detail)
        self._has_rival = position != self._place.position
        self._place = self._place._replace(position=position)
