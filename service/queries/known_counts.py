"""What was counted lately, by criteria.

Invariant: a count is answered again only where the read model still stands at the mark at which it
was counted; at any other mark it does no more than choose a plan.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from service.queries.criteria import Criteria
from service.queries.progress import Mark

KEPT_COUNTS_MAX = 1_000
DEAR_SECONDS = 0.003  # a count that took longer is worth not repeating


class KnownCount(NamedTuple):
    """`seconds`: what it took to count, perhaps with a page of rows."""

    mark: Mark
    matches: int
    seconds: float

    @property
    def is_dear(self) -> bool:
        return self.seconds > DEAR_SECONDS


class KnownCounts:
    """The latest count for each of the latest criteria."""

    def __init__(self) -> None:
        self._counts: OrderedDict[Criteria, KnownCount] = OrderedDict()

    def get(self, criteria: Criteria) -> KnownCount | None:
        return self._counts.get(criteria)

    def put(self, criteria: Criteria, count: KnownCount) -> None:
        self._counts[criteria] = count
        self._counts.move_to_end(criteria)
        if len(self._counts) > KEPT_COUNTS_MAX:
            self._counts.popitem(last=False)
