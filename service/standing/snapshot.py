"""Reads how far everything is: one read-only snapshot of the log and of what is stored.

Invariant: the log and all positions are of one moment, and times are compared with the database's
clock, which dates the events; so neither a fast writer nor a wrong clock here makes up a lag.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

from service.event_log import EventLog, Head
from service.events import Position
from service.postgres import Postgres, Transaction, load_statements
from service.standing.parts import STALLED_SECONDS, Minute, Parked, Part, Standing

MINUTES = 60  # how far the log is looked back at
RELAY = "relay"

SQL = load_statements("service", "standing.sql")


class _Relay(NamedTuple):
    is_held: bool
    position: int | None
    tails: list[int] | None


class _Place(NamedTuple):
    projection: str
    partition: int
    position: int
    is_moving: bool


_NO_RELAY = _Relay(is_held=False, position=None, tails=None)


async def read_standing(
    postgres: Postgres, topic: str, expected: Sequence[str], *, published: int | None = None
) -> Standing:
    """`topic`: the one that events are published to. `expected`: projections that there should be,
    whether anything is stored of them or not.

    `published` is what Kafka holds, where the caller has looked there before; it counts in place of
    what is recorded about publishing.
    """
    async with postgres.snapshot() as snapshot:
        log = EventLog(snapshot)
        (now,) = await snapshot.fetch(_time, SQL["now"])
        head = await log.head()
        relay = next(iter(await snapshot.fetch(_Relay, SQL["relay"], topic)), _NO_RELAY)
        tails = dict(enumerate(relay.tails or ()))
        position = relay.position if published is None else published
        places, moving = await _places(snapshot, expected)
        return Standing(
            head=head,
            now=now,
            is_publishing=relay.is_held,
            relay=await _part(log, head, now, RELAY, position, tails),
            projections=[
                replace(
                    await _part(log, head, now, f"projection {name}", _lowest(found), found),
                    is_moving=name in moving,
                )
                for name, found in places.items()
            ],
            parked=await snapshot.fetch(Parked, SQL["parked"]),
            minutes=await _minutes(log, head, now),
        )


async def _places(
    snapshot: Transaction, expected: Sequence[str]
) -> tuple[Mapping[str, Mapping[int, int]], Collection[str]]:
    """By projection and partition: how far it is; and those that were added and move."""
    places: dict[str, dict[int, int]] = defaultdict(dict, {name: {} for name in expected})
    found = await snapshot.fetch(_Place, SQL["projections"], STALLED_SECONDS)
    for each in found:
        places[each.projection][each.partition] = each.position
    return places, {each.projection for each in found if each.is_moving}


def _lowest(places: Mapping[int, int]) -> int | None:
    return min(places.values(), default=None)


async def _part(
    log: EventLog,
    head: Head,
    now: datetime,
    name: str,
    position: int | None,
    partitions: Mapping[int, int],
) -> Part:
    reached = position or 0
    if reached >= head.position:
        return Part(name, position, partitions, 0, 0.0)
    since = await log.time_after(Position(reached)) or head.time
    seconds = max(0.0, (now - since).total_seconds())
    return Part(name, position, partitions, head.position - reached, seconds)


async def _minutes(log: EventLog, head: Head, now: datetime) -> list[Minute]:
    """The last hour, by the clock's minutes."""
    begins = list(_beginnings(now))
    ages = [(now - begin).total_seconds() for begin in begins]
    ends = [*await log.last_older_than_each(ages), head.position]
    return [
        Minute(begin, after, until)
        for begin, (after, until) in zip(begins, pairwise(ends), strict=True)
    ]


def _beginnings(now: datetime) -> Iterator[datetime]:
    this = now.replace(second=0, microsecond=0)
    for back in range(MINUTES - 1, -1, -1):
        yield this - timedelta(minutes=back)


def _time(time: datetime) -> datetime:
    return time
