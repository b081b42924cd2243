"""What happens when, drawn from a seed; pure.

Invariant: every fault that the servers allow happens at least once, the wipe exactly once and well
before the end, so that what comes after it is not repaired by the shop's sending all again.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import NamedTuple

ROLES = ("api", "relay", "projections", "intake")
LEASE_SECONDS = 2.0  # of the relay, as documented; a longer pause makes a zombie of it
FIRST, LAST, WIPE = 0.06, 0.88, 0.4  # shares of the time
MORE_EVERY_SECONDS = 7.0  # beyond those that must happen
PAUSE_SECONDS = (0.5, 4.0)
ZOMBIE_SECONDS = (LEASE_SECONDS + 1.0, LEASE_SECONDS + 4.0)
SERVER_PAUSE_SECONDS = (0.5, 3.0)


class Fault(NamedTuple):
    """`which` of two processes of a role; `seconds` it lasts, where that is not up to others."""

    at_seconds: float
    kind: str
    target: str
    which: int = 0
    seconds: float = 0.0

    @property
    def name(self) -> str:
        return f"{self.kind} {self.target}"


ON_ROLES = [(kind, role) for kind in ("kill", "stop", "pause") for role in ROLES]
ON_ALL = [("kill all", "relay")]
ON_POSTGRES = [(kind, "postgres") for kind in ("kill", "pause", "cut")]
ON_BROKER = [("kill", "broker"), ("pause", "broker")]
WIPING = ("wipe", "broker")
# The stand-in loses its records with its process, and its groups with their members.
NOT_ON_STAND_IN = frozenset(
    {
        *ON_BROKER,
        WIPING,
        *((kind, role) for kind in ("kill", "stop", "pause") for role in ("projections", "intake")),
    }
)
EVERY = (*ON_ROLES, *ON_ALL, *ON_POSTGRES, *ON_BROKER, WIPING)
SELDOM = frozenset({*ON_BROKER, ("kill", "postgres"), *ON_ALL})  # they stop everything


def draw(seed: int, seconds: float, *, real_kafka: bool) -> list[Fault]:
    """In the order of time."""
    choose = Random(seed)
    possible = [each for each in EVERY if real_kafka or each not in NOT_ON_STAND_IN]
    must = [each for each in possible if each != WIPING]
    choose.shuffle(must)
    first, last = FIRST * seconds, LAST * seconds
    step = (last - first) / len(must)
    faults = [
        _fault(choose, first + (number + 0.5 * choose.random()) * step, *each)
        for number, each in enumerate(must)
    ]
    if WIPING in possible:
        faults.append(Fault(WIPE * seconds, *WIPING))
    faults += [
        _fault(choose, choose.uniform(first, last), *_any(choose, must))
        for _ in range(int(seconds / MORE_EVERY_SECONDS) - len(must))
    ]
    return sorted(faults)


def left_out(*, real_kafka: bool) -> list[str]:
    """By name."""
    return [] if real_kafka else sorted(f"{kind} {target}" for kind, target in NOT_ON_STAND_IN)


def _any(choose: Random, possible: Sequence[tuple[str, str]]) -> tuple[str, str]:
    weights = [1 if each in SELDOM else 4 for each in possible]
    return choose.choices(possible, weights)[0]


def _fault(choose: Random, at_seconds: float, kind: str, target: str) -> Fault:
    bounds = PAUSE_SECONDS if target in ROLES else SERVER_PAUSE_SECONDS
    if (kind, target) == ("pause", "relay"):
        bounds = ZOMBIE_SECONDS
    seconds = choose.uniform(*bounds) if kind == "pause" else 0.0
    return Fault(at_seconds, kind, target, choose.randrange(2), seconds)
