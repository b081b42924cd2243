"""Applies batches to an added projection, and lets those go on who wait.

Invariants: every event of a stream is applied once and in order, or its customer is parked there
and everybody else goes on. A gap is read from the log at once. Nobody's parking ends before all is
applied that any worker has passed over for its sake.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import structlog

from projections.checkpoint import Move
from projections.customers import Fact, Incoming, Stop, incoming
from projections.derived.fold import Change, State, fold
from projections.derived.module import Derived
from projections.derived.store import DerivedStore
from projections.observing import ProjectionMetrics
from projections.store import Contended
from service.errors import Corrupt, Unavailable
from service.event_log import EventLog, StoredEvent

ATTEMPTS_MAX = 10  # at one batch, while others change its customers or gaps turn up
STREAM_EVENTS_MAX = 100  # of one customer's stream, read and applied at once
PARKED_AT_ONCE_MAX = 20  # customers tried again at once; times STREAM_EVENTS_MAX = one batch

_Groups = Mapping[str, Sequence[Incoming]]
_Stops = Mapping[str, Stop]  # of customers that are tried again: where each waits

_NOBODY: _Stops = {}


class DerivedApplier:
    """Applies one batch at a time. Many may work side by side."""

    def __init__(
        self, derived: Derived, store: DerivedStore, log: EventLog, metrics: ProjectionMetrics
    ) -> None:
        self._derived = derived
        self._store = store
        self._log = log
        self._metrics = metrics

    async def apply(self, facts: Sequence[Fact], moves: Sequence[Move]) -> None:
        """Apply the events and move the checkpoints, in one transaction if nothing is wrong.

        Raises CheckpointLost, where another worker has taken over; Unavailable; and what is not
        one customer's fault.
        """
        groups: dict[str, list[Incoming]] = {}
        for fact in facts:
            groups.setdefault(fact.customer_id, []).append(incoming(fact))
        try:
            await self._apply(groups, moves)
        except Unavailable as error:
            if error.code == "database_not_ready":
                await self._store.check_shape()  # says so where it is this table that is gone
            raise

    async def retry_parked(self, after: str) -> str | None:
        """Let those go on who wait for what is mended by now: a newer release, another module.

        One page of them, by id, after a customer, and a page of each one's stream. After whom to
        go on, which is the same again while one of them gets on; None = nobody is left.
        """
        page = await self._store.parked(after, PARKED_AT_ONCE_MAX)
        if not page:
            return None
        stops = {each.customer_id: each.stop for each in page}
        before = await self._store.read(stops)
        groups = {
            customer_id: [incoming(each) for each in events]
            for customer_id, state in before.items()
            if (events := await self._next_of(customer_id, state))
        }
        await self._apply(groups, [], stops)
        for customer_id, state in (await self._store.read(stops)).items():
            if state.is_parked and state.version > before[customer_id].version:
                return after
        return page[-1].customer_id

    async def _next_of(self, customer_id: str, state: State) -> Sequence[StoredEvent]:
        """What the log has of one customer, and the projection not; a page."""
        return await self._log.of_customer(customer_id, state.version, limit=STREAM_EVENTS_MAX)

    async def _apply(self, groups: _Groups, moves: Sequence[Move], stops: _Stops = _NOBODY) -> None:
        for _ in range(ATTEMPTS_MAX):
            states = await self._store.read(groups) if groups else {}
            changes = [
                self._fold(events, states[customer_id], stops.get(customer_id))
                for customer_id, events in groups.items()
            ]
            gaps = [each.customer_id for each in changes if each.has_gap]
            for customer_id in gaps:
                await self._heal(customer_id)
            if gaps:
                continue
            try:
                await self._store.write(changes, moves)
            except Contended:
                continue
            except Corrupt as error:
                await self._apply_apart(groups, states, moves, stops, error)
            else:
                self._tell(changes)
            return
        raise Unavailable("database_unavailable", "Others keep changing the same customers.")

    def _fold(self, events: Sequence[Incoming], state: State, stop: Stop | None) -> Change:
        """`stop`: where the customer waits, and is tried again. To stay there is no news."""
        change = fold(self._derived.evolve, events, state, is_retry=stop is not None)
        if stop is not None:
            change.skipped = 0  # they were counted when the feed had them
            if change.stop == stop:
                change.stop = None
        return change

    async def _heal(self, customer_id: str) -> None:
        """Apply what the log has of one customer and the projection not, until it ends or stops."""
        version = -1
        state = (await self._store.read([customer_id]))[customer_id]
        while state.version > version:
            version = state.version
            page = await self._next_of(customer_id, state)
            if page:
                await self._apply({customer_id: [incoming(each) for each in page]}, [])
                self._metrics.healed(len(page))
            state = (await self._store.read([customer_id]))[customer_id]

    async def _apply_apart(
        self,
        groups: _Groups,
        states: Mapping[str, State],
        moves: Sequence[Move],
        stops: _Stops,
        error: Corrupt,
    ) -> None:
        """The database refused something: whatever it was, only its customer may suffer."""
        if not groups:
            raise error
        if halves := _halves(groups):
            for half in halves:
                await self._apply(half, [], stops)
        else:
            await self._store.probe()
            await self._refuse(groups, states, stops)
        if moves:
            await self._store.write([], moves)

    async def _refuse(self, groups: _Groups, states: Mapping[str, State], stops: _Stops) -> None:
        """Park the one customer there. Where somebody else has changed it, apply anew."""
        ((customer_id, (event,)),) = groups.items()
        before = states[customer_id]
        stop = Stop(event.version, event.position, "refused")
        after = before._replace(heard=max(before.heard, event.version))
        is_known = stop == stops.get(customer_id)
        change = Change(customer_id, event.tenant, before, after, None if is_known else stop)
        try:
            await self._store.write([change], [])
        except Contended:
            await self._apply(groups, [], stops)
        else:
            self._tell([change])

    def _tell(self, changes: Sequence[Change]) -> None:
        skipped = sum([each.skipped for each in changes])
        if skipped:
            self._metrics.skipped(skipped)
        for each in changes:
            if each.stop is not None:
                self._metrics.parked(each.stop.reason)
            if each.stop is not None and each.fault is not None:
                structlog.get_logger().warning(
                    "evolve_failed",
                    projection=self._derived.table,
                    position=each.stop.position,
                    error=each.fault,
                )


def _halves(groups: _Groups) -> Sequence[_Groups]:
    """Of the customers; of one customer's events. A single event has none."""
    if len(groups) == 1:
        ((customer_id, events),) = groups.items()
        middle = len(events) // 2
        return [{customer_id: events[:middle]}, {customer_id: events[middle:]}] if middle else []
    customer_ids = sorted(groups)
    middle = len(customer_ids) // 2
    halves = customer_ids[:middle], customer_ids[middle:]
    return [{each: groups[each] for each in half} for half in halves]
