"""Builds the read model anew from the log, beside the one that is read, and goes over to it.

Invariants: nothing that is read changes before the flip, which is one transaction; a build that was
killed at any moment goes on where it was. Nothing here takes a lock that the log, the relay or a
reader waits for, but for the flip, which gives up and tries again before they have waited for long.
"""

from projections.rebuild.build import Build, begin, filled, finish, unfinished
from projections.rebuild.comparison import Comparison, compare
from projections.rebuild.filling import fill
from projections.rebuild.flipping import drop, flip

__all__ = [
    "Build",
    "Comparison",
    "begin",
    "compare",
    "drop",
    "fill",
    "filled",
    "finish",
    "flip",
    "unfinished",
]
