"""Whether the table of an added projection is what the log says, row by row.

Invariants: as in walk.py. The fold is the module's own, from the log's first event on; and rows are
compared by PostgreSQL, in the types of the table's columns, so that nothing of them is read here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from projections.customers import incoming
from projections.derived import Derived, DerivedStore
from projections.derived.fold import State, fold
from projections.verification.walk import (
    CHUNK_CUSTOMERS_MAX,
    ROWS_MAX,
    Compared,
    Place,
    feed,
    shown_up_to,
)
from service.errors import Corrupt
from service.event_log import SQL as LOG_SQL
from service.event_log import EventLog, StoredEvent
from service.events import CustomerDeleted
from service.findings import Finding, Findings, Kind, Progress
from service.postgres import Postgres, Transaction, load_statements
from service.vault import Vault

SQL = load_statements("projections", "added.sql")
COUNT_STREAMS = load_statements("projections", "verification.sql")["count_streams"]


class _Stream(NamedTuple):
    """A customer in the log, and what the projection has of it."""

    customer_id: str
    tenant: str
    version: int
    applied: int
    heard: int
    is_gone: bool
    has_row: bool
    parked_version: int | None
    parked_reason: str | None
    is_archived: bool  # the beginning of the stream: it cannot be folded


class _OddRow(NamedTuple):
    customer_id: str
    columns: Sequence[str]


class _Ownerless(NamedTuple):
    customer_id: str
    in_all: int


class _Replay:
    """One customer's stream, folded from its beginning to the version that is applied."""

    def __init__(self, derived: Derived, until: int) -> None:
        self._evolve = derived.evolve
        self._until = until
        self.state = State()
        self.problem: str | None = None  # why it cannot be folded
        self.next_position: int | None = None  # of the first event that is not applied
        self.deletion: tuple[int, int] | None = None  # its version and its position

    def feed(self, events: Sequence[StoredEvent]) -> None:
        for each in events:
            if each.type == CustomerDeleted.type:
                self.deletion = each.version, each.position
            if each.version > self._until and self.next_position is None:
                self.next_position = each.position
        applied = [incoming(each) for each in events if each.version <= self._until]
        if not applied or self.problem is not None:
            return
        change = fold(self._evolve, applied, self.state)
        self.state = change.after
        if change.stop is not None:
            self.problem = f"version {change.stop.version} cannot be applied: {change.stop.reason}"
        elif change.has_gap or change.skipped:
            self.problem = f"what follows version {self.state.version} in the log is not the next"


@dataclass(slots=True)
class _Judge:
    """What is found of one projection."""

    derived: Derived
    findings: Findings
    done: Compared
    rows: list[str] = field(default_factory=list)  # as JSON, to be compared with those that are

    def add(self, kind: Kind, detail: str, who: str | None, position: int | None = None) -> None:
        detail = f"{self.derived.table}: {detail}"
        self.findings.add(Finding(kind, "projections", detail, who, position))

    def judge(self, stream: _Stream, replay: _Replay, due: int) -> None:
        who, deletion = stream.customer_id, replay.deletion
        self._judge_version(stream, replay, due)
        if stream.applied > stream.version:
            return
        if deletion is not None and deletion[0] > stream.applied:
            # What is held is older than the deletion, and the log is blank: nothing to compare.
            if deletion[1] <= due and stream.has_row:
                self.add("unexpected", "a row of who was deleted", who, deletion[1])
        elif replay.problem is not None or replay.state.version != stream.applied:
            problem = replay.problem or f"the log has no version {stream.applied}"
            self.add("different", f"not to be compared: {problem}", who)
        else:
            self._judge_row(stream, replay.state)

    def _judge_version(self, stream: _Stream, replay: _Replay, due: int) -> None:
        who, applied = stream.customer_id, stream.applied
        if stream.heard > applied or stream.parked_version is not None:
            if stream.parked_version is None:
                detail = f"waits after version {applied}, and is not parked"
            else:
                self.done.parked += 1
                detail = f"parked before version {stream.parked_version}: {stream.parked_reason}"
            self.add("different", detail, who, replay.next_position)
        elif applied > stream.version:
            detail = f"applied up to version {applied}, and the log ends at {stream.version}"
            self.add("unexpected", detail, who)
        elif applied < stream.version:
            if replay.next_position is None or replay.next_position > due:
                self.done.behind += 1
                return
            detail = f"applied up to version {applied} of {stream.version}, behind the checkpoint"
            self.add("missing", detail, who, replay.next_position)

    def _judge_row(self, stream: _Stream, state: State) -> None:
        who = stream.customer_id
        if stream.is_gone != state.is_gone:
            self.add("different", "derived.reached.is_gone is not as the log says", who)
        if state.row is None:
            if stream.has_row:
                self.add("unexpected", "a row that should not be there", who)
        elif not stream.has_row:
            self.add("missing", "lacks a row", who)
        else:
            try:
                self.rows.append(self.derived.written(state.row, who, stream.tenant))
            except Corrupt as error:
                self.add("different", f"not to be compared: {error}", who)


async def verify_added(
    postgres: Postgres,
    vault: Vault,
    derived: Derived,
    findings: Findings,
    progress: Progress,
    *,
    customers_max: int = CHUNK_CUSTOMERS_MAX,
) -> Compared:
    """Raises Unavailable; ConfigurationError where the table was made by another module."""
    await DerivedStore(postgres, derived).check_shape()
    sql = _statements(derived)
    judge = _Judge(derived, findings, Compared())
    total = await postgres.fetch_one(int, COUNT_STREAMS) or 0
    progress.begin(f"{derived.table}: customers", total)
    after = ""
    while True:
        async with postgres.snapshot() as snapshot:
            await snapshot.execute(LOG_SQL["lock_log"])
            streams = await snapshot.fetch(
                _Stream, sql["streams"], *derived.key, after, customers_max
            )
            if not streams:
                break
            await _look(snapshot, vault, sql, streams, after, judge)
        left_out = sum(each.is_archived for each in streams)
        judge.done.customers += len(streams) - left_out
        judge.done.archived += left_out
        progress.advance(len(streams))
        after = streams[-1].customer_id
    await _look_for_nobody(postgres, sql, judge)
    return judge.done


async def _look(
    snapshot: Transaction,
    vault: Vault,
    sql: Mapping[str, str],
    streams: Sequence[_Stream],
    after: str,
    judge: _Judge,
) -> None:
    places = await snapshot.fetch(Place, sql["added_places"], *judge.derived.key)
    shown = await shown_up_to(snapshot, places, judge.findings, "projections")
    replays = {each.customer_id: _Replay(judge.derived, each.applied) for each in streams}
    await feed(EventLog(snapshot, vault), replays, after, streams[-1].customer_id)
    for each in streams:
        if each.is_archived:
            continue
        judge.judge(each, replays[each.customer_id], shown(each.customer_id))
    wanted, columns = f"[{','.join(judge.rows)}]", ["tenant", *judge.derived.fields]
    judge.rows.clear()
    for odd in await snapshot.fetch(_OddRow, sql["odd_rows"], wanted, columns):
        judge.add("different", f"differs from the log in {', '.join(odd.columns)}", odd.customer_id)


async def _look_for_nobody(postgres: Postgres, sql: Mapping[str, str], judge: _Judge) -> None:
    ownerless = await postgres.fetch(_Ownerless, sql["ownerless"], ROWS_MAX)
    for each in ownerless:
        judge.add("unexpected", "a row of nobody whom the log knows", each.customer_id)
    if ownerless:
        rest = ownerless[0].in_all - len(ownerless)
        judge.findings.add_unlisted("projections", "unexpected", rest)


def _statements(derived: Derived) -> Mapping[str, str]:
    """For one table, whose name `load_modules` has checked."""
    return {name: text.replace("{table}", derived.table) for name, text in SQL.items()}
