"""Applies batches: what a gap, a repeat, a poison event and a rival mean is decided here.

Invariants: every event of a stream is applied once and in order, or its customer is parked there
and everybody else goes on. A gap is healed from the log at once. Applying anything twice, by
anybody, changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from projections.checkpoint import Move
from projections.customers import Fact, Incoming, Present, Stop, fold, incoming
from projections.observing import ProjectionMetrics
from projections.rows import Parking, Rows
from projections.store import Contended, Store
from service.errors import Corrupt, Unavailable
from service.event_log import EventLog

ATTEMPTS_MAX = 10  # at one batch, while others change its customers or gaps turn up
HEALING_EVENTS_MAX = 100  # one page of one customer's stream, in one transaction

_Groups = Mapping[str, Sequence[Incoming]]


@dataclass(slots=True)
class _Folded:
    """What a batch leads to, if neither of the lists names anybody."""

    rows: Rows
    skipped: int = 0
    gaps: list[str] = field(default_factory=list)
    lacking: list[str] = field(default_factory=list)


class Applier:
    """Applies one batch at a time to one read model."""

    def __init__(self, store: Store, log: EventLog, metrics: ProjectionMetrics) -> None:
        self._store = store
        self._log = log
        self._metrics = metrics

    async def apply(self, facts: Iterable[Fact], moves: Sequence[Move]) -> None:
        """Apply the events and move the checkpoints, in one transaction if nothing is wrong.

        Raises CheckpointLost: then another worker has taken over a partition, and nothing of its
        is lost or doubled. Raises Unavailable; Corrupt where the log contradicts its own order.
        """
        groups: dict[str, list[Incoming]] = {}
        for fact in facts:
            groups.setdefault(fact.customer_id, []).append(incoming(fact))
        await self._apply(groups, moves)

    async def _apply(self, groups: _Groups, moves: Sequence[Move]) -> None:
        for _ in range(ATTEMPTS_MAX):
            presents = await self._store.present(groups) if groups else {}
            try:
                folded = _fold(groups, presents)
                if not folded.gaps:
                    await self._complete(folded, groups, presents)
                    await self._store.write(folded.rows, moves)
            except Contended:
                continue
            except Corrupt as error:
                if await self._apply_apart(groups, moves, error):
                    return
                continue
            if not folded.gaps:
                self._observe(folded)
                return
            for customer_id in folded.gaps:
                await self._heal(groups[customer_id], presents[customer_id])
        raise Unavailable("database_unavailable", "Others keep changing the same customers.")

    async def _complete(
        self, folded: _Folded, groups: _Groups, presents: Mapping[str, Present]
    ) -> None:
        """Fold anew those whose roll-ups take all of their orders."""
        if not folded.lacking:
            return
        lacking = {customer_id: presents[customer_id] for customer_id in folded.lacking}
        for customer_id, present in (await self._store.with_all_orders(lacking)).items():
            folded.rows.add(fold(groups[customer_id], present))
        folded.rows.sort()

    async def _heal(self, events: Sequence[Incoming], present: Present) -> None:
        """Apply, from the log, what a customer's stream holds from what is shown up to `events`."""
        first = events[0]
        until = max(each.version for each in events)
        version = present.version
        while version < until:
            chunk = await self._missing(first.customer_id, version)
            if not chunk:
                raise Corrupt(f"position {first.position} was published, and the log lacks it")
            await self._apply({first.customer_id: chunk}, [])
            self._metrics.healed(len(chunk))
            if isinstance(chunk[-1].event, str):
                return  # parked by now, or changed by somebody else: it is looked at again
            version = chunk[-1].version

    async def _missing(self, customer_id: str, after: int) -> list[Incoming]:
        """The next of a stream's events, up to one that cannot be read, and none behind a hole."""
        chunk: list[Incoming] = []
        for each in await self._log.of_customer(customer_id, after, limit=HEALING_EVENTS_MAX):
            if each.version != after + len(chunk) + 1:
                break
            chunk.append(incoming(each))
            if isinstance(chunk[-1].event, str):
                break
        return chunk

    async def _apply_apart(self, groups: _Groups, moves: Sequence[Move], error: Corrupt) -> bool:
        """Something cannot be written: whatever it is, only its customer may suffer.

        False where somebody else has changed that one meanwhile: apply again.
        """
        customer_ids = sorted(groups)
        if not customer_ids:
            raise error
        if len(customer_ids) > 1:
            middle = len(customer_ids) // 2
            for half in (customer_ids[:middle], customer_ids[middle:]):
                await self._apply({each: groups[each] for each in half}, [])
        else:
            events = groups[customer_ids[0]]
            for each in events if len(events) > 1 else ():
                await self._apply({each.customer_id: [each]}, [])
            if len(events) == 1:
                await self._store.probe()
                stop = Stop(events[0].version, events[0].position, "refused")
                if not await self._park(events[0].tenant, events[0].customer_id, stop):
                    return False
        if moves:
            await self._store.write(Rows(), moves)
        return True

    async def _park(self, tenant: str, customer_id: str, stop: Stop) -> bool:
        """False where the customer is no longer shown up to there: somebody has changed it."""
        try:
            await self._store.write(Rows(parked=[Parking(customer_id, tenant, *stop)]), [])
        except Contended:
            return False
        self._metrics.parked(stop.reason)
        return True

    def _observe(self, folded: _Folded) -> None:
        if folded.skipped:
            self._metrics.skipped(folded.skipped)
        for parking in folded.rows.parked:
            self._metrics.parked(parking.reason)


def _fold(groups: _Groups, presents: Mapping[str, Present]) -> _Folded:
    """Each change becomes rows at once: the documents of a batch are too many to keep around."""
    folded = _Folded(Rows())
    for customer_id in sorted(groups):
        change = fold(groups[customer_id], presents[customer_id])
        folded.skipped += change.skipped
        if change.has_gap:
            folded.gaps.append(customer_id)
        elif change.lacks_orders:
            folded.lacking.append(customer_id)
        else:
            folded.rows.add(change)
    return folded
