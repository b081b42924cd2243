"""What a customer's events do to what is held of it, whatever projection that is of; pure.

Invariants: an event is applied once, as the next of its stream, or the customer waits there and
nobody else. A deletion, or a forgotten event, which proves that one follows, takes the row away for
ever; the module is not asked about it, nor about anything after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from projections.customers import Incoming, Stop
from service.events import CustomerDeleted, Event


class Row(Protocol):
    """A NamedTuple: its fields are columns."""

    def _asdict(self) -> dict[str, object]: ...


class Evolve(Protocol):
    """The customer's row after an event; None = there is no row. Pure."""

    def __call__(self, row: Row | None, event: Event, time: datetime, /) -> Row | None: ...


class State(NamedTuple):
    """What is held of one customer."""

    version: int = 0  # of the last event applied
    heard: int = 0  # of the last event heard of
    is_gone: bool = False
    row: Row | None = None

    @property
    def is_parked(self) -> bool:
        return self.heard > self.version


@dataclass(slots=True)
class Change:
    """What new events did to one customer."""

    customer_id: str
    tenant: str
    before: State
    after: State
    stop: Stop | None = None  # where the customer waits from now on
    fault: str | None = None  # what `evolve` raised, by its type
    skipped: int = 0  # events seen before, or waiting
    has_gap: bool = False  # an event before these is missing: read it from the log, and fold again


def fold(
    evolve: Evolve, events: Sequence[Incoming], state: State, *, is_retry: bool = False
) -> Change:
    """One customer's events, in order and at least one. `is_retry`: the customer waits no more."""
    change = Change(events[0].customer_id, events[0].tenant, state, state)
    if state.is_parked and not (is_retry and events[0].version <= state.version + 1):
        _wait(change, events)
        return change
    for number, each in enumerate(events):
        if each.version <= change.after.version:
            change.skipped += 1
        elif each.version > change.after.version + 1:
            change.has_gap = True
            break
        elif not _apply(evolve, change, each):
            _wait(change, events[number:])
            break
    return change


def _apply(evolve: Evolve, change: Change, each: Incoming) -> bool:
    """Take in the next event. False where that cannot be."""
    state = change.after
    heard = max(state.heard, each.version)
    if state.is_gone or _tells_of_the_end(each):
        change.after = State(each.version, heard, is_gone=True)
        return True
    if isinstance(each.event, str):
        change.stop = Stop(each.version, each.position, each.event)
        return False
    try:
        row = evolve(state.row, each.event, each.time)
    except Exception as error:  # somebody else's code: whatever it raises, only its customer waits
        change.stop = Stop(each.version, each.position, "impossible")
        change.fault = type(error).__name__
        return False
    change.after = State(each.version, heard, row=row)
    return True


def _wait(change: Change, events: Sequence[Incoming]) -> None:
    """They are heard of and not applied, unless one of them ends it all."""
    state = change.after
    change.skipped += len(events) - (change.stop is not None)
    waiting = [each for each in events if each.version > state.version]
    heard = max([state.heard, *(each.version for each in waiting)])
    change.after = state._replace(heard=heard)
    if any(map(_tells_of_the_end, waiting)):
        change.after = State(heard, heard, is_gone=True)
        change.stop = change.fault = None


def _tells_of_the_end(each: Incoming) -> bool:
    return each.is_forgotten or isinstance(each.event, CustomerDeleted)
