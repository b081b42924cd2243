"""The ledger of writes against the log: acknowledged ones are there once, as answered; refused ones
are not; and of ambiguous ones at most one attempt was carried out.

Invariant: whatever lies in the log and was made by no known request is a finding, too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from tests.chaos.findings import Findings
from tests.chaos.journal import Write
from tests.chaos.log import Log, Row


def check_writes(
    writes: Sequence[Write], log: Log, prepared: Collection[str], epoch: str
) -> Findings:
    """`prepared` are the request ids of what was made before the writers began."""
    findings = Findings()
    first = {write.key: write for write in writes if not write.repeats and write.kind != "reuse"}
    known = set(prepared)
    for write in writes:
        known.update(attempt.request_id for attempt in write.attempts)
        _check_answer(write, epoch, findings)
        _check_trace(write, _carried_out(write, log), findings)
        if write.repeats and write.is_acknowledged:
            _check_repeat(write, first[write.repeats], findings)
    for request_id, rows in log.requested.items():
        if request_id not in known:
            text = f"position {rows[0].position} was made by an unknown request {request_id}"
            findings.add("wrong", text)
    return findings


def _carried_out(write: Write, log: Log) -> list[list[Row]]:
    """The events of each attempt that has any."""
    ids = [attempt.request_id for attempt in write.attempts]
    return [log.requested[each] for each in ids if each in log.requested]


def _check_answer(write: Write, epoch: str, findings: Findings) -> None:
    last = write.last
    if write.fault:
        findings.add("wrong", f"{_about(write)}: {write.fault}")
    for attempt in write.attempts:
        if attempt.status >= 500 and attempt.status != 503:
            findings.add("answered wrongly", f"{_about(write)}: {attempt.status} {attempt.code}")
    if last.status == 0 or last.status == 503 or last.code == "idempotency_in_flight":
        findings.add("unanswered", f"{_about(write)}: {len(write.attempts)} attempts")
    elif last.code not in write.allowed:
        findings.add("answered wrongly", f"{_about(write)}: {last.status} {last.code}")
    if write.is_acknowledged and write.epoch != epoch:
        findings.add("wrong", f"{_about(write)}: epoch {write.epoch}, the log's is {epoch}")


def _check_trace(write: Write, found: Sequence[Sequence[Row]], findings: Findings) -> None:
    if len(found) > 1:
        text = f"{_about(write)}: carried out {len(found)} times"
        findings.add("twice", text)
    if write.is_acknowledged and write.changes:
        if found:
            _check_events(write, found[0], findings)
        else:
            text = f"{_about(write)}: acknowledged at {write.position}, and not in the log"
            findings.add("lost", text)
    elif found and (write.is_acknowledged or write.is_refused):
        findings.add("left a trace", f"{_about(write)}: position {found[0][0].position}")


def _check_events(write: Write, rows: Sequence[Row], findings: Findings) -> None:
    last = rows[-1]
    positions = [row.position for row in rows]
    if positions != list(range(positions[0], positions[0] + len(rows))):
        findings.add("out of order", f"{_about(write)}: its events are at {positions}")
    if (last.position, last.version) != (write.position, write.version):
        found = f"it is version {last.version} at {last.position}"
        answered = f"answered was {write.version} at {write.position}"
        findings.add("wrong", f"{_about(write)}: {found}, {answered}")
    if write.customer_id not in {"", last.customer_id} and write.path != "/user":
        findings.add("wrong", f"{_about(write)}: it is an event of {last.customer_id}")
    if write.if_match is not None and rows[0].version != write.if_match + 1:
        findings.add("out of order", f"{_about(write)}: made on version {rows[0].version - 1}")
    if write.path == "/user" and rows[0].version != 1:
        findings.add("wrong", f"{_about(write)}: created as version {rows[0].version}")


def _check_repeat(write: Write, first: Write, findings: Findings) -> None:
    """The answer of a repeat is the first one."""
    answers = [(each.version, each.position, each.shown) for each in (first, write)]
    if answers[0] != answers[1] or not write.is_replayed:
        findings.add("wrong", f"{_about(write)}: a repeat was answered otherwise")


def _about(write: Write) -> str:
    return f"{write.kind} {write.method} {write.path} (key {write.key})"


def counts(writes: Iterable[Write]) -> Mapping[str, int]:
    """For the report."""
    every = list(writes)
    ambiguous = [write for write in every if write.was_ambiguous]
    return {
        "writes": len(every),
        "acknowledged": sum(write.is_acknowledged for write in every),
        "refused": sum(not write.is_acknowledged for write in every),
        "ambiguous, then resolved by repeating": sum(write.last.status > 0 for write in ambiguous),
        "attempts": sum(len(write.attempts) for write in every),
        "attempts without an answer": sum(
            attempt.status == 0 for write in every for attempt in write.attempts
        ),
        "attempts answered 503": sum(
            attempt.status == 503 for write in every for attempt in write.attempts
        ),
    }
