"""The words in which it is said how far everything is; plain values, and pure.

Invariant: a lag is measured from a stored position to the log's end, and its age is that of the
first event beyond the position, by the log's own times. Nothing here comes from whoever follows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from service.event_log import Head

STALLED_SECONDS = 10.0  # an event that waits for longer has nobody who works on it


@dataclass(frozen=True, slots=True)
class Part:
    """What follows the log: the relay, or a projection. `position` None: nothing is stored of it.

    `partitions`: how far each partition of the events topic is; -1 is the log itself.
    """

    name: str
    position: int | None
    partitions: Mapping[int, int]
    lag_events: int
    lag_seconds: float  # for how long the first event beyond the position has been in the log
    is_moving: bool = (
        False  # one that was added, and has just applied something: it may be building
    )

    @property
    def is_stalled(self) -> bool:
        """The log has gone on for so long, and the position has not."""
        return self.lag_seconds > STALLED_SECONDS and not self.is_moving


class Minute(NamedTuple):
    """A minute of the log: the events after one position and up to another were recorded in it."""

    begins: datetime
    after: int
    until: int

    @property
    def events(self) -> int:
        return self.until - self.after

    def waiting(self, part: Part) -> int:
        """How many of its events a part has not come to."""
        return max(0, self.until - max(self.after, part.position or 0))


class Parked(NamedTuple):
    """Customers with an event that could not be applied, for one reason."""

    reason: str
    customers: int
    since: datetime  # the first of them


@dataclass(frozen=True, slots=True)
class Standing:
    """The log and all that follows it, in one snapshot; `now` is the database's time."""

    head: Head
    now: datetime
    is_publishing: bool  # some process holds the right to publish
    relay: Part
    projections: Sequence[Part]
    parked: Sequence[Parked]
    minutes: Sequence[Minute]  # the oldest first; the last one is not over yet

    @property
    def parts(self) -> Sequence[Part]:
        return [self.relay, *self.projections]
