"""Applies batches to an added projection, and lets those go on who wait.

Invariants: every event of a stream is applied once and in order, or its customer is parked there
and everybody else goes on. A gap is read from the log at once. Nobody's parking ends before all is
applied that any worker has passed over for its sake.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

from projections.checkpoint import Move
from projections.customers import Fact, Incoming, Stop, incoming
from projections.derived.fold import Change, State, fold
from projections.derived.module import Derived
from projections.derived.store import DerivedStore
from projections.feed import Feed, Source
from projections.observing import ProjectionMetrics
from projections.store import Contended
from service.errors import Corrupt, Unavailable
from service.event_log import EventLog

ATTEMPTS_MAX = 10  # at one batch, while others change its customers or gaps turn up
STREAM_EVENTS_MAX = 100  # of one customer's stream, read and applied at once

_Groups = Mapping[str, Sequence[Incoming]]


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
        await self._apply(groups, moves)

    async def retry_parked(self) -> None:
        """Let those go on who wait for what is mended by now: a newer release, another module."""
        after = ""
        while page := await self._store.parked(after):
            for each in page:
                await self._go_through(each.customer_id, is_retry=True)
            after = page[-1].customer_id

    async def _apply(
        self, groups: _Groups, moves: Sequence[Move], *, is_retry: bool = False
    ) -> None:
        for _ in range(ATTEMPTS_MAX):
            states = await self._store.read(groups) if groups else {}
            changes = [
                fold(self._derived.evolve, events, states[customer_id], is_retry=is_retry)
                for customer_id, events in groups.items()
            ]
            gaps = [each.customer_id for each in changes if each.has_gap]
            for customer_id in gaps:
                await self._go_through(customer_id)
            if gaps:
                continue
            try:
                await self._store.write(changes, moves)
            except Contended:
                continue
            except Corrupt as error:
                await self._apply_apart(groups, states, moves, error, is_retry=is_retry)
            else:
                self._tell(changes)
            return
        raise Unavailable("database_unavailable", "Others keep changing the same customers.")

    async def _go_through(self, customer_id: str, *, is_retry: bool = False) -> None:
        """Apply what the log has of one customer and the projection not, until it ends or stops."""
        version = -1
        state = (await self._store.read([customer_id]))[customer_id]
        while state.version > version:
            version = state.version
            page = await self._log.of_customer(customer_id, version, limit=STREAM_EVENTS_MAX)
            if page:
                events = [incoming(each) for each in page]
                await self._apply({customer_id: events}, [], is_retry=is_retry)
                self._metrics.healed(len(page))
            state = (await self._store.read([customer_id]))[customer_id]

    async def _apply_apart(
        self,
        groups: _Groups,
        states: Mapping[str, State],
        moves: Sequence[Move],
        error: Corrupt,
        *,
        is_retry: bool,
    ) -> None:
        """The database refused something: whatever it was, only its customer may suffer."""
        parts = [{customer_id: events} for customer_id, events in groups.items()]
        if len(parts) == 1:
            parts = [{each.customer_id: [each]} for events in groups.values() for each in events]
        if len(parts) > 1:
            for part in parts:
                await self._apply(part, [], is_retry=is_retry)
        elif parts:
            await self._store.probe()
            await self._refuse(parts[0], states, is_retry=is_retry)
        else:
            raise error
        if moves:
            await self._store.write([], moves)

    async def _refuse(
        self, groups: _Groups, states: Mapping[str, State], *, is_retry: bool
    ) -> None:
        """Park the one customer there. Where somebody else has changed it, apply anew."""
        ((customer_id, (event,)),) = groups.items()
        before = states[customer_id]
        stop = Stop(event.version, event.position, "refused")
        after = before._replace(heard=max(before.heard, event.version))
        change = Change(customer_id, event.tenant, before, after, stop)
        try:
            await self._store.write([change], [])
        except Contended:
            await self._apply(groups, [], is_retry=is_retry)
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


@dataclass(frozen=True, slots=True)
class DerivedSource:
    """A source that is opened where the table is the module's, and who waits is tried again."""

    source: Source
    store: DerivedStore
    applier: DerivedApplier

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Feed]:
        await self.store.check_shape()
        async with self.source.open() as feed:
            await self.applier.retry_parked()
            yield feed
