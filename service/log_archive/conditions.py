"""Whether a partition may leave the database yet, and if not, why.

Invariant: asked before anything is written, and once more when nobody can write any longer, in the
very transaction that takes the partition away.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from service.event_log import EventLog
from service.log_archive.upkeep import SQL, Partition
from service.postgres import Reader

SECONDS_PER_DAY = 86_400.0

Needs: TypeAlias = Callable[[Reader, int], Awaitable[Sequence[str]]]
"""Who still needs events up to a position, a sentence each; asked of those whom we do not know."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """`topic`: that events are published to; None = whichever a relay was ever at work for."""

    older_than_seconds: float
    topic: str | None
    needs: Needs


class _Published(NamedTuple):
    topic: str
    position: int


async def why_not(reader: Reader, partition: Partition, conditions: Conditions) -> list[str]:
    """Sentences; none where it may be archived."""
    head = await EventLog(reader).head()
    if partition.last >= head.position:
        return [f"it is not full: the log ends at position {head.position:,}"]
    reasons: list[str] = []
    ages = await reader.fetch(float, SQL["age"], partition.last)
    if not ages:
        return ["the log lacks its last event: `customers verify --only log` says more"]
    if ages[0] < conditions.older_than_seconds:
        wanted = conditions.older_than_seconds / SECONDS_PER_DAY
        days = f"{ages[0] / SECONDS_PER_DAY:,.1f} days old, and {wanted:,.1f} are asked for"
        reasons.append(f"its last event is {days}")
    for topic, position in await reader.fetch(_Published, SQL["published"], conditions.topic):
        if position < partition.last:
            reasons.append(f"the relay has published up to position {position:,} to {topic}")
    return [*reasons, *await conditions.needs(reader, partition.last)]
