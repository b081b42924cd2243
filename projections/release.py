"""Lets a parked customer go on: applies what waits, from the log, and shows the customer again.

Invariant: in order and each event once, as a worker would have done, whatever workers do meanwhile.
Where an event still cannot be applied the customer stays parked there, with all before it shown.
Doing it again, by anybody, changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

from projections.customers import Change, Incoming, Present, Stop, fold, incoming
from projections.parked import Held, ParkedStore, Step
from projections.rows import Rows
from projections.store import Contended, Store
from service.errors import Corrupt, Unavailable
from service.event_log import EventLog, StoredEvent
from service.postgres import Postgres

EVENTS_MAX = 100  # applied in one transaction
ATTEMPTS_MAX = 10  # at one transaction, while others change the customer

Result: TypeAlias = Literal["released", "still_parked", "not_parked"]


class Outcome(NamedTuple):
    """What became of a customer. `stop` says where it is still parked."""

    customer_id: str
    tenant: str
    result: Result
    applied: int = 0  # events that were not shown before
    stop: Stop | None = None


class _Next(NamedTuple):
    """The next events of a stream, and the one after them; None = they are its last."""

    events: Sequence[StoredEvent]
    after: StoredEvent | None


class Release:
    """Lets parked customers of one read model go on, one at a time."""

    def __init__(self, postgres: Postgres, store: Store, log: EventLog) -> None:
        self._store = store
        self._parked = ParkedStore(postgres, store)
        self._log = log

    async def release(self, customer_id: str, tenant: str | None = None) -> Outcome | None:
        """Apply as much as can be. None where there is no such customer, or not in this tenant.

        Raises Unavailable; Corrupt where the log contradicts its own order.
        """
        owner = await self._parked.tenant_of(customer_id)
        if owner is None or tenant not in {None, owner}:
            return None
        applied, limit, attempts = 0, EVENTS_MAX, 0
        while attempts < ATTEMPTS_MAX:
            held = await self._parked.held(customer_id)
            if held is None:
                result: Result = "released" if applied else "not_parked"
                return Outcome(customer_id, owner, result, applied)
            following = await self._next(customer_id, held, limit)
            try:
                step = await self._go_on(customer_id, held, following)
            except Contended:
                attempts += 1
                continue
            if step is None:
                limit = len(following.events) // 2
                continue
            news = step.version - held.shown_version
            applied, limit, attempts = applied + news, EVENTS_MAX, 0
            if step.stop is None:
                return Outcome(customer_id, owner, "released", applied)
            if not news:
                return Outcome(customer_id, owner, "still_parked", applied, step.stop)
        raise Unavailable("database_unavailable", "Others keep changing the customer.")

    async def _next(self, customer_id: str, held: Held, limit: int) -> _Next:
        read = await self._log.of_customer(customer_id, held.shown_version, limit=limit + 1)
        for version, each in enumerate(read, start=held.shown_version + 1):
            if each.version != version:
                raise Corrupt(f"the log lacks version {version} of {customer_id}")
        return _Next(read[:limit], read[limit] if len(read) > limit else None)

    async def _go_on(self, customer_id: str, held: Held, following: _Next) -> Step | None:
        """Write what can be. None where one of several events is refused: fewer will show which."""
        try:
            step = await self._step(customer_id, held, following)
            await self._write(step, held)
        except Corrupt:
            if len(following.events) > 1:
                return None
            if not following.events:
                raise
            step = await self._refused(customer_id, held, following)
            await self._write(step, held)
        return step

    async def _write(self, step: Step, held: Held) -> None:
        stays = Stop(held.stream_version, held.position, held.reason)
        if step.version > held.shown_version or step.stop != stays:
            await self._parked.write(step, held)

    async def _step(self, customer_id: str, held: Held, following: _Next) -> Step:
        if not following.events:
            return Step(customer_id, Rows(), held.shown_version, None)
        events = [incoming(each) for each in following.events]
        change = await self._fold(customer_id, events)
        if change.has_gap or change.old_version != held.shown_version:
            raise Contended("a parked customer has been changed")
        rows, stop = Rows(), change.stop
        rows.add(change)
        rows.parked.clear()
        if stop is None and following.after is not None:
            stop = _before(following.after, held)
        return Step(customer_id, rows, change.version, stop)

    async def _fold(self, customer_id: str, events: Sequence[Incoming]) -> Change:
        presents = await self._store.present({customer_id: events})
        change = fold(events, _going_on(presents[customer_id]))
        if change.lacks_orders:
            presents = await self._store.with_all_orders(presents)
            change = fold(events, _going_on(presents[customer_id]))
        return change

    async def _refused(self, customer_id: str, held: Held, following: _Next) -> Step:
        """The step that says so. Raises Corrupt where it is not the event that is refused."""
        await self._store.probe()
        first = following.events[0]
        stop = Stop(first.version, first.position, "refused")
        return Step(customer_id, Rows(), held.shown_version, stop)


def _before(event: StoredEvent, held: Held) -> Stop:
    """Where a customer waits whose next events are still to be applied."""
    return Stop(event.version, event.position, held.reason)


def _going_on(present: Present) -> Present:
    return present._replace(is_parked=False)
