"""How far everything that follows the log has come, and what waits or was put aside.

Invariant: nobody is asked how they are. What is stored is compared with the log, or with the topic
that it comes from, so a process that is frozen, and whose figures stand still, is found out.
"""

from service.standing.overview import KafkaSide, Letters, Orders, Overview
from service.standing.parts import STALLED_SECONDS, Minute, Parked, Part, Standing
from service.standing.snapshot import read_standing

__all__ = [
    "STALLED_SECONDS",
    "KafkaSide",
    "Letters",
    "Minute",
    "Orders",
    "Overview",
    "Parked",
    "Part",
    "Standing",
    "read_standing",
]
