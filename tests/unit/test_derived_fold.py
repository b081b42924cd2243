"""Given what is held of a customer and new events, then what is held: no tables."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import pytest

from projections.customers import Incoming, Reason
from projections.derived.fold import Change, Row, State, fold
from service.events import CustomerDeleted, CustomerTagged, Event
from tests.support.histories import MOMENT


class Tags(NamedTuple):
    names: tuple[str, ...]


def evolve(row: Row | None, event: Event, time: datetime) -> Row | None:
    """A row from the first tag on; it fails on the tag `bad`."""
    held = row.names if isinstance(row, Tags) else ()
    if not isinstance(event, CustomerTagged):
        return row
    if "bad" in event.tags:
        raise AttributeError("a mistake of the module's")
    return Tags((*held, *event.tags))


def heard(
    version: int, event: Event | Reason | None = None, *, is_forgotten: bool = False
) -> Incoming:
    tagged = CustomerTagged(tags=(f"t{version}",))
    return Incoming(
        *(100 + version, "default", "cust_1", version, MOMENT, event or tagged, "evt_1"),
        is_forgotten=is_forgotten,
    )


def folded(state: State, *events: Incoming, is_retry: bool = False) -> Change:
    return fold(evolve, events, state, is_retry=is_retry)


SHOWN = State(2, 2, row=Tags(("t1", "t2")))
WAITING = State(2, 4, row=Tags(("t1", "t2")))
GONE = State(2, 2, is_gone=True)
BAD = CustomerTagged(tags=("bad",))


def test_each_event_is_applied_once_as_the_next() -> None:
    change = folded(SHOWN, heard(1), heard(2), heard(3), heard(3), heard(4))
    assert change.after == State(4, 4, row=Tags(("t1", "t2", "t3", "t4")))
    assert (change.skipped, change.has_gap, change.stop) == (3, False, None)


def test_a_gap_is_told_and_nothing_after_it_applied() -> None:
    change = folded(SHOWN, heard(3), heard(5))
    assert (change.has_gap, change.after.version, change.after.is_parked) == (True, 3, False)


@pytest.mark.parametrize(
    ("poison", "reason", "fault"),
    [(BAD, "impossible", "AttributeError"), ("unknown_type", "unknown_type", None)],
)
def test_whom_an_event_cannot_be_applied_to_waits_before_it(
    poison: Event | Reason, reason: Reason, fault: str | None
) -> None:
    change = folded(SHOWN, heard(3), heard(4, poison), heard(5), heard(6))
    assert change.after == State(3, 6, row=Tags(("t1", "t2", "t3")))
    assert change.stop == (4, 104, reason)
    assert (change.fault, change.skipped) == (fault, 2)


def test_who_waits_hears_of_more_and_stays_as_it_is() -> None:
    change = folded(WAITING, heard(5))
    assert (change.after, change.stop) == (WAITING._replace(heard=5), None)
    assert folded(WAITING, heard(9), is_retry=True).after == WAITING._replace(heard=9)


def test_who_is_tried_again_waits_until_all_that_was_heard_of_is_applied() -> None:
    change = folded(WAITING, heard(3), is_retry=True)
    assert (change.after.version, change.after.is_parked) == (3, True)
    change = folded(change.after, heard(4), heard(5), is_retry=True)
    assert (change.after.version, change.after.is_parked) == (5, False)


@pytest.mark.parametrize(
    "end", [heard(3, CustomerDeleted()), heard(3, is_forgotten=True), heard(3, BAD)]
)
def test_a_deletion_takes_the_row_away_for_ever(end: Incoming) -> None:
    end = end if end.event is not BAD else heard(3, "undecodable", is_forgotten=True)
    for state in (SHOWN, WAITING):
        assert folded(state, end, is_retry=True).after[2:] == (True, None)
    assert folded(SHOWN, end, heard(4), heard(5, BAD)).after == State(5, 5, is_gone=True)


def test_after_a_deletion_nothing_is_applied_and_nothing_stops() -> None:
    events: Sequence[Incoming] = (heard(3), heard(4, BAD), heard(5, "unknown_type"))
    assert folded(GONE, *events).after == State(5, 5, is_gone=True)


def test_who_waits_is_not_shown_beyond_a_deletion() -> None:
    change = folded(WAITING, heard(5, CustomerDeleted()))
    assert change.after == State(5, 5, is_gone=True)
    poisoned = folded(SHOWN, heard(3, BAD), heard(4, CustomerDeleted()))
    assert (poisoned.after, poisoned.stop) == (State(4, 4, is_gone=True), None)
