"""What the new version shows, beside what is read.

Invariants: a customer is compared where both versions show it up to the same event, in one
snapshot, so what is on its way is no difference. Nothing that is read is held up. Customers are
named by their ids only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

from projections.checkpoint import Projection
from projections.rebuild.build import SQL, Build
from projections.verification.walk import look_over_tables
from projections.versions import schema_of, statements
from service.findings import Findings, Progress
from service.postgres import Postgres, Row, RowMaker, load_statements

NAMED_MAX = 20  # customers of a bucket
AT_ONCE = 3  # buckets, each by a connection of its own
MOVING_MAX = 100_000  # who are remembered, to be looked at again
IDLE_ROUNDS_MAX = 20  # looks at all of them in which none could be compared
STILL_ROUNDS_MAX = 5  # such looks in which neither version moved: nobody applies anything
ROUND_SECONDS = 0.1  # between such looks
SOME_MAX = 1_000  # in one statement

COMPARE = load_statements("projections", "compare.sql")


class Odd(NamedTuple):
    """A bucket of customers, `after < id <= until`, that is not the same in both versions.

    Counts are of all rows, checksums of those whom both show up to the same event.
    """

    number: int
    after: str
    until: str
    old_count: int
    new_count: int
    old_checksum: str
    new_checksum: str
    different: int
    named: Sequence[str]


@dataclass(slots=True)
class Comparison:
    """`parked`: in what is read. `moving`: changed all the while, so never compared."""

    buckets: int = 0
    customers: int = 0
    parked: int = 0
    moving: int = 0
    different: int = 0
    odd: list[Odd] = field(default_factory=list)
    own: Findings = field(default_factory=Findings)  # where the new version contradicts itself

    @property
    def is_equal(self) -> bool:
        return not self.different and not self.own.total


class _Bucket(NamedTuple):
    number: int
    after: str
    until: str


class _Sums(NamedTuple):
    old_count: int
    new_count: int
    compared: int
    old_checksum: str
    new_checksum: str
    different: Sequence[str]
    moving: Sequence[str]
    parked: int


@dataclass(slots=True)
class _Looked:
    """A bucket that was looked at, and who differs in it so far."""

    bucket: _Bucket
    sums: _Sums
    different: list[str]


class _Pair(NamedTuple):
    customer_id: str
    old_version: int
    new_version: int
    old_position: int
    new_position: int
    is_equal: bool
    is_parked: bool  # in what is read
    old_place: int
    new_place: int

    def is_on_its_way(self) -> bool:
        """The one that is behind has not come to what the other one shows."""
        if self.old_version > self.new_version:
            return self.old_position > self.new_place
        return self.new_position > self.old_place


@cache
def _statements(old: int, new: int) -> Mapping[str, str]:
    sql = COMPARE
    made: dict[str, str] = {}
    for name, chosen in (("bucket", "a_range"), ("each", "some")):
        text = sql[name].replace("{paired}", sql["paired"])
        for place, number in (("old", old), ("new", new)):
            digests = sql["digests"].replace("{schema}", schema_of(number))
            text = text.replace(f"{{{place}_digests}}", digests)
            text = text.replace(f"{{{place}}}", schema_of(number))
            text = text.replace(f"{{{place}_number}}", str(number))
        made[name] = text.replace("{chosen}", sql[chosen])
    return made


async def compare(
    postgres: Postgres, build: Build, read: Projection, progress: Progress
) -> Comparison:
    """Bucket by bucket; then those again who were being changed; then the new version by itself.

    Whoever differs is written down, so that the flip tells the topic of states.
    """
    sql, done = _statements(read.version, build.version), Comparison()
    await postgres.execute(SQL["forget_differences"], build.version)
    buckets = await postgres.fetch(_Bucket, SQL["ranges"], build.version)
    progress.begin("comparing: buckets", len(buckets))
    looked = await _looked(postgres, sql["bucket"], buckets, progress)
    moving: dict[str, _Looked] = {}
    for each in looked:
        done.customers += each.sums.compared
        done.parked += each.sums.parked
        room = MOVING_MAX - len(moving)
        moving |= dict.fromkeys(each.sums.moving[:room], each)
        done.moving += len(each.sums.moving[room:])
    done.buckets = len(looked)
    await _look_again(postgres, sql["each"], moving, done)
    for each in looked:
        if each.different:
            await _note(postgres, build, done, each)
    await look_over_tables(postgres, statements("verification.sql", build.version), done.own)
    return done


async def _looked(
    postgres: Postgres, statement: str, buckets: Sequence[_Bucket], progress: Progress
) -> list[_Looked]:
    """All buckets, in their order; some at once."""
    looked: dict[int, _Looked] = {}
    left = iter(buckets)

    async def look() -> None:
        for bucket in left:
            (sums,) = await _fetch(postgres, _Sums, statement, bucket.after, bucket.until)
            looked[bucket.number] = _Looked(bucket, sums, [*sums.different])
            progress.advance(1)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(look())
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from errors
    return [looked[bucket.number] for bucket in buckets]


async def _fetch(
    postgres: Postgres, row: RowMaker[Row], statement: str, *arguments: object
) -> list[Row]:
    async with postgres.transaction() as transaction:
        await transaction.execute(COMPARE["no_scans"])
        return await transaction.fetch(row, statement, *arguments)


async def _look_again(
    postgres: Postgres, statement: str, moving: dict[str, _Looked], done: Comparison
) -> None:
    """At those of whom one version showed more than the other, as long as that may change."""
    idle_rounds, still_rounds, places_before = 0, 0, (-1, -1)
    while moving and idle_rounds < IDLE_ROUNDS_MAX and still_rounds < STILL_ROUNDS_MAX:
        left, places = list(moving), (-1, -1)
        for start in range(0, len(left), SOME_MAX):
            some = left[start : start + SOME_MAX]
            for pair in await _fetch(postgres, _Pair, statement, some):
                _judge(pair, moving, done)
                places = pair.old_place, pair.new_place
        still_rounds = still_rounds + 1 if places == places_before else 0
        places_before = places
        idle_rounds = 0 if len(moving) < len(left) else idle_rounds + 1
        if moving:
            await asyncio.sleep(ROUND_SECONDS)
    done.moving += len(moving)


def _judge(pair: _Pair, moving: dict[str, _Looked], done: Comparison) -> None:
    """Taken out of `moving` once that can be."""
    is_same_version = pair.old_version == pair.new_version
    if not (is_same_version or pair.is_parked) and pair.is_on_its_way():
        return
    looked = moving.pop(pair.customer_id)
    if pair.is_parked:
        done.parked += 1
        return
    done.customers += is_same_version
    if not pair.is_equal:
        looked.different.append(pair.customer_id)


async def _note(postgres: Postgres, build: Build, done: Comparison, looked: _Looked) -> None:
    bucket, sums, different = looked.bucket, looked.sums, sorted(looked.different)
    done.different += len(different)
    done.odd.append(Odd(*bucket, *sums[:2], *sums[3:5], len(different), different[:NAMED_MAX]))
    await postgres.execute(SQL["differ"], build.version, different)
