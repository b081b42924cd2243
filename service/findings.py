"""What a verification has found: each thing by kind and place, counted whole, listed in part.

Invariant: a finding names customers by id and places by number; it never quotes what is stored, so
a report can be handed on.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

Kind: TypeAlias = Literal["missing", "repeated", "out_of_order", "different", "unexpected"]
"""Not there; there twice; there too late; not what the log says; there, and the log knows nothing
of it."""

Where: TypeAlias = Literal["log", "kafka", "states", "read_model", "projections"]
"""The log itself, the topic of events, the topic of states, the read model's tables, those of
projections that were added."""

LISTED_OF_A_KIND_MAX = 20  # of one kind in one place; so a flood of one does not hide another


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. `detail` is a sentence without personal data."""

    kind: Kind
    where: Where
    detail: str
    customer_id: str | None = None
    position: int | None = None
    partition: int | None = None
    offset: int | None = None


class Findings:
    """Everything that was found so far."""

    def __init__(self, *, listed_of_a_kind_max: int = LISTED_OF_A_KIND_MAX) -> None:
        self._listed_of_a_kind_max = listed_of_a_kind_max
        self.listed: list[Finding] = []
        self.counts: Counter[tuple[Where, Kind]] = Counter()

    @property
    def total(self) -> int:
        return self.counts.total()

    def add(self, finding: Finding) -> None:
        place = finding.where, finding.kind
        if self.counts[place] < self._listed_of_a_kind_max:
            self.listed.append(finding)
        self.counts[place] += 1

    def add_unlisted(self, where: Where, kind: Kind, count: int) -> None:
        """So many more of the same, of which nothing else was read."""
        if count > 0:
            self.counts[where, kind] += count


class Progress(Protocol):
    """Told how far a verification is; must not block or raise."""

    def begin(self, part: str, total: int) -> None:
        """A part has begun, with about so much to do."""

    def advance(self, count: int) -> None:
        """So much more of it is done."""
