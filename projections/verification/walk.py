"""Goes through all customers, some at a time, and then over what belongs to no single one.

Invariants: each chunk is one snapshot of log, rows and checkpoint. What lies at or below a
checkpoint must be shown; what lies above it is on its way, and only counted.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple, Protocol, TypeAlias

from projections.checkpoint import CUSTOMERS, LOG_PARTITION, Followed
from projections.store import DEFAULT_CURRENCY
from projections.verification.compare import compared
from projections.verification.held import Held, Stream, read_held
from projections.verification.replay import Replay
from projections.versions import statements
from service.event_log import SQL as LOG_SQL
from service.event_log import EventLog, Head, StoredEvent
from service.events import OrderRecorded
from service.findings import Finding, Findings, Kind, Progress, Where
from service.postgres import Postgres, Reader, Transaction
from service.vault import Vault

CHUNK_CUSTOMERS_MAX = 200  # in one snapshot
EVENTS_MAX = 250  # read at once; 64 MB where each is as large as a body allows
ROWS_MAX = 1_000  # findings of one statement over a whole table; of more, the rest is only counted


@dataclass(slots=True)
class Compared:
    """How many customers were compared, and of how many an event was still on its way. Left out
    were those whose streams begin in the archive: `archived`."""

    customers: int = 0
    archived: int = 0
    behind: int = 0
    parked: int = 0


class Place(NamedTuple):
    """How far a partition of the feed is applied."""

    partition: int
    epoch: str
    position: int


class _OddRollUp(NamedTuple):
    customer_id: str
    order_count: bool
    total_spent: bool
    last_order_at: bool
    document_count: bool
    document_spent: bool
    contributions: bool


class _Ownerless(NamedTuple):
    place: str
    id: str
    in_all: int


class _OddTag(NamedTuple):
    customer_id: str
    is_missing: bool
    in_all: int


class _OddCount(NamedTuple):
    table: str
    held: int
    counted: int
    in_all: int


_Sql: TypeAlias = Mapping[str, str]
"""The statements of verification.sql, for the version that is looked at."""

Shown = Callable[[str], int]
"""Given a customer's id, up to which position of the log everything of it must be shown."""


async def verify_read_model(
    postgres: Postgres,
    vault: Vault,
    findings: Findings,
    progress: Progress,
    *,
    projection: Followed = CUSTOMERS,
    default_currency: str = DEFAULT_CURRENCY,
    customers_max: int = CHUNK_CUSTOMERS_MAX,
) -> Compared:
    """Raises Unavailable."""
    done, sql = Compared(), statements("verification.sql", projection.version)
    total = await postgres.fetch_one(int, sql["count_streams"]) or 0
    progress.begin("read model: customers", total)
    after = ""
    while True:
        async with postgres.snapshot() as snapshot:
            await snapshot.execute(LOG_SQL["lock_log"])
            streams = await snapshot.fetch(
                Stream, sql["streams"], after, customers_max, default_currency
            )
            if not streams:
                break
            last = streams[-1].customer_id
            places = await snapshot.fetch(Place, sql["places"])
            shown = await shown_up_to(snapshot, places, findings, "read_model")
            replays = {each.customer_id: _replay(each) for each in streams}
            await feed(EventLog(snapshot, vault), replays, after, last)
            references = _references(streams, replays)
            held = await read_held(
                snapshot, sql, [each.customer_id for each in streams], references
            )
            whole = [each for each in streams if not each.is_archived]
            for stream in whole:
                _judge(stream, replays[stream.customer_id], held, shown, done, findings)
            left_out = {each.customer_id for each in streams} - {each.customer_id for each in whole}
            await _roll_ups(snapshot, sql, after, last, default_currency, findings, left_out)
        done.customers += len(whole)
        done.archived += len(left_out)
        progress.advance(len(streams))
        after = last
    await look_over_tables(postgres, sql, findings)
    return done


async def shown_up_to(
    snapshot: Transaction, places: Sequence[Place], findings: Findings, where: Where
) -> Shown:
    """What all partitions of a feed together are to have shown."""
    from service.kafka import partition_for  # late: a rebuild's processes start without it

    head = await EventLog(snapshot).head()
    positions = {each.partition: _position(each, head, findings, where) for each in places}
    if LOG_PARTITION in positions or not positions:
        return lambda _: positions.get(LOG_PARTITION, 0)
    lowest = min(positions.values())

    def shown(customer_id: str) -> int:
        return positions.get(partition_for(customer_id.encode(), len(positions)), lowest)

    return shown


def _position(place: Place, head: Head, findings: Findings, where: Where) -> int:
    if place.epoch != head.epoch:
        detail = "the checkpoint is of another epoch, that is another log"
        findings.add(Finding("different", where, detail, partition=place.partition))
        return 0
    if place.position > head.position:
        detail = "the checkpoint is ahead of the log"
        findings.add(Finding("unexpected", where, detail, None, place.position, place.partition))
    return place.position


def _replay(stream: Stream) -> Replay:
    return Replay(stream.customer_id, stream.tenant, stream.currency, stream.shown_version)


class Fed(Protocol):
    """Takes in a stream's events, in order, some at a time."""

    def feed(self, events: Sequence[StoredEvent]) -> None: ...


async def feed(log: EventLog, replays: Mapping[str, Fed], after: str, last: str) -> None:
    """The streams of all customers after one and up to another, by customer."""
    place = (after, 2**62)
    while page := await log.of_customers(place, last, limit=EVENTS_MAX, without_archived=True):
        for customer_id, events in groupby(page, attrgetter("customer_id")):
            if customer_id in replays:  # else it has no row in log.stream
                replays[customer_id].feed(list(events))
        place = page[-1].customer_id, page[-1].version


def _references(streams: Sequence[Stream], replays: Mapping[str, Replay]) -> list[str]:
    told = [each.reference for each in streams] + [each.reference for each in replays.values()]
    return sorted({each for each in told if each is not None})


def _judge(
    stream: Stream, replay: Replay, held: Held, shown: Shown, done: Compared, findings: Findings
) -> None:
    who, due = stream.customer_id, shown(stream.customer_id)
    _judge_version(stream, replay, due, done, findings)
    if stream.shown_version == 0 or stream.shown_version > stream.version:
        return
    if replay.deletion is not None and replay.deletion[0] > stream.shown_version:
        # What is shown is older than the deletion, and the log is blank: nothing to compare with.
        if replay.deletion[1] <= due and stream.document is not None:
            detail = "the customer is still shown, and was deleted"
            findings.add(Finding("unexpected", "read_model", detail, who, replay.deletion[1]))
        return
    if replay.problem is not None or replay.version != stream.shown_version:
        detail = replay.problem or f"the log has no version {stream.shown_version}"
        findings.add(Finding("different", "read_model", f"not to be compared: {detail}", who))
        return
    for finding in compared(stream, replay.rows(), held):
        findings.add(finding)


def _judge_version(
    stream: Stream, replay: Replay, due: int, done: Compared, findings: Findings
) -> None:
    who, version = stream.customer_id, stream.shown_version
    if stream.parked_version is not None:
        done.parked += 1
        detail = f"parked before version {stream.parked_version}: {stream.parked_reason}"
        findings.add(Finding("different", "read_model", detail, who, replay.next_position))
    elif version > stream.version:
        detail = f"customer shows version {version}, and the log ends at {stream.version}"
        findings.add(Finding("unexpected", "read_model", detail, who, stream.position))
    elif version < stream.version:
        if replay.next_position is None or replay.next_position > due:
            done.behind += 1
            return
        detail = f"customer shows version {version} of {stream.version}, behind the checkpoint"
        if version == 0:
            detail = "customer has no row, and the checkpoint is past the creation"
        findings.add(Finding("missing", "read_model", detail, who, replay.next_position))


async def _roll_ups(
    reader: Reader,
    sql: _Sql,
    after: str,
    last: str,
    default_currency: str,
    findings: Findings,
    left_out: Collection[str],
) -> None:
    kind = OrderRecorded.type
    places = {
        "order_count": "activity.order_count",
        "total_spent": "activity.total_spent",
        "last_order_at": "activity.last_order_at",
        "document_count": "orderCount",
        "document_spent": "spentByCurrency",
        "contributions": "the sum of contribution",
    }
    for odd in await reader.fetch(
        _OddRollUp, sql["odd_roll_ups"], after, last, kind, default_currency
    ):
        if odd.customer_id in left_out:
            continue
        names = [place for field, place in places.items() if getattr(odd, field)]
        detail = f"not what the orders in the log add up to: {', '.join(names)}"
        findings.add(Finding("different", "read_model", detail, odd.customer_id))


async def look_over_tables(postgres: Postgres, sql: _Sql, findings: Findings) -> None:
    """What no single customer's rows show."""
    ownerless = await postgres.fetch(_Ownerless, sql["ownerless"], ROWS_MAX)
    for row in ownerless:
        detail = f"{row.place} has a row of nobody whom the log knows"
        findings.add(Finding("unexpected", "read_model", detail, row.id))
    if ownerless:
        _add_rest(findings, "unexpected", ownerless[0].in_all - len(ownerless))
    tags = await postgres.fetch(_OddTag, sql["odd_tags"], ROWS_MAX)
    missing = [each for each in tags if each.is_missing]
    unexpected = [each for each in tags if not each.is_missing]
    _add_tags(findings, missing, "missing", "tagged lacks a row")
    _add_tags(findings, unexpected, "unexpected", "tagged has a row that no profile has")
    counts = await postgres.fetch(_OddCount, sql["odd_counts"], ROWS_MAX)
    for count in counts:
        detail = f"{count.table} counts {count.held}, and {count.counted} customers are listed"
        findings.add(Finding("different", "read_model", detail))
    if counts:
        _add_rest(findings, "different", counts[0].in_all - len(counts))


def _add_rest(findings: Findings, kind: Kind, count: int) -> None:
    findings.add_unlisted("read_model", kind, count)


def _add_tags(findings: Findings, tags: Sequence[_OddTag], kind: Kind, detail: str) -> None:
    for tag in tags:
        findings.add(Finding(kind, "read_model", detail, tag.customer_id))
    if tags:
        _add_rest(findings, kind, tags[0].in_all - len(tags))
