"""What a check has to say: nothing, or findings, each of a kind.

Invariant: all are counted, and only the first few of a kind are kept as text.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

TEXTS_MAX = 10  # of one kind

KINDS = {
    "lost": "acknowledged, or in the log, and not found where it must be",
    "twice": "carried out, published or counted twice",
    "out of order": "positions, versions or chains that are not one after the other",
    "left a trace": "refused, and found in the log",
    "wrong": "content, versions or positions that are not as answered",
    "answered wrongly": "an answer that nobody may give to this request, such as 500",
    "unanswered": "never told what became of a write",
    "roll-ups": "counts and sums that do not follow from what the shop has sent",
    "role": "a process that ended by itself, or did not end when told to",
    "verify": "what `customers verify` found",
    "harness": "the chaos itself did not do its work",
}


@dataclass
class Findings:
    """Kinds with how often, and some of the texts."""

    counts: Counter[str] = field(default_factory=Counter)
    texts: dict[str, list[str]] = field(default_factory=dict)

    def add(self, kind: str, text: str, times: int = 1) -> None:
        assert kind in KINDS, kind
        self.counts[kind] += times
        known = self.texts.setdefault(kind, [])
        if len(known) < TEXTS_MAX:
            known.append(text)

    def add_all(self, other: Findings) -> None:
        for kind, count in other.counts.items():
            self.counts[kind] += count
            known = self.texts.setdefault(kind, [])
            known += other.texts.get(kind, [])[: TEXTS_MAX - len(known)]

    def __bool__(self) -> bool:
        return bool(self.counts)
