"""The log by itself: its positions, its streams, and the rows that changed in the same commits.

Invariant: each piece is looked at in one statement or one snapshot, so that what is written
meanwhile is seen whole or not at all; short ones, so that nobody waits for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from service.errors import Corrupt
from service.event_log import SQL as LOG_SQL
from service.event_log import EventLog, RowOpener, StoredEvent
from service.events import (
    CustomerCreated,
    CustomerDeleted,
    CustomerUpdated,
    OrderRecorded,
    decode,
)
from service.findings import Finding, Findings, Progress
from service.postgres import Postgres, Reader, load_statements
from service.vault import Vault
from service.verification.streams import Stream, stream_findings

EVENTS_MAX = 10_000  # positions that are counted in one statement
STREAMS_MAX = 500  # streams that are looked at in one snapshot
OPENED_MAX = 250  # events that are opened at once; 64 MB where each is as large as a body allows
ROWS_MAX = 5_000  # of other tables, in one statement

SQL = load_statements("service", "verification.sql")


class LogCompared(NamedTuple):
    """How much was looked at. Positions up to `archived_to` are archived, and so are the beginnings
    of the streams of so many customers."""

    events: int
    customers: int
    archived_to: int = 0
    archived_customers: int = 0


class _Odd(NamedTuple):
    position: int
    customer_id: str
    is_orphan: bool
    is_back_in_time: bool


class _Beyond(NamedTuple):
    position: int
    in_all: int


class _OddClaim(NamedTuple):
    customer_id: str
    is_living: bool
    in_all: int


class _OddOrder(NamedTuple):
    customer_id: str
    position: int
    is_missing: bool
    is_unordered: bool


class _Unrecorded(NamedTuple):
    customer_id: str
    in_all: int


class _Snapshot(NamedTuple):
    customer_id: str
    version: int
    schema_version: int
    sealed: bytes
    wrapped: bytes | None


class _Remembered(NamedTuple):
    tenant: str
    key: str
    customer_id: str
    position: int
    is_there: bool


async def verify_log(
    postgres: Postgres, vault: Vault, findings: Findings, progress: Progress
) -> LogCompared:
    """All of the log up to its head as of now. Raises Unavailable."""
    head = await EventLog(postgres).head()
    archived_to = await EventLog(postgres).archived_to()
    for first in await postgres.fetch(int, SQL["odd_archived"]):
        detail = "log.archived has a partition that does not follow the one before it"
        findings.add(Finding("missing", "log", detail, position=first))
    progress.begin("log: positions", head.position - archived_to)
    for after in range(archived_to, head.position, EVENTS_MAX):
        until = min(head.position, after + EVENTS_MAX)
        await _positions(postgres, after, until, findings)
        progress.advance(until - after)
    await _beyond(postgres, findings)
    streams = await postgres.fetch_one(int, SQL["count_streams"]) or 0
    progress.begin("log: streams", streams)
    customers, archived_customers = await _streams(postgres, vault, findings, progress)
    await _claims(postgres, findings)
    await _accepted_orders(postgres, findings)
    await _idempotency(postgres, findings)
    events = head.position - archived_to
    return LogCompared(events, customers, archived_to, archived_customers)


async def _beyond(postgres: Postgres, findings: Findings) -> None:
    beyond = await postgres.fetch(_Beyond, SQL["beyond_head"], ROWS_MAX)
    for event in beyond:
        detail = "an event lies beyond the position that log.head names"
        findings.add(Finding("unexpected", "log", detail, position=event.position))
    if beyond:
        findings.add_unlisted("log", "unexpected", beyond[0].in_all - len(beyond))


async def _positions(postgres: Postgres, after: int, until: int, findings: Findings) -> None:
    count = await postgres.fetch_one(int, SQL["count_events"], after, until)
    if count != until - after:
        for hole in await postgres.fetch(int, SQL["holes"], after, until):
            detail = "the log has no event at this position"
            findings.add(Finding("missing", "log", detail, position=hole))
    for odd in await postgres.fetch(_Odd, SQL["odd_events"], after, until):
        place = odd.customer_id, odd.position
        if odd.is_orphan:
            detail = "an event of a customer who has no row in log.stream"
            findings.add(Finding("unexpected", "log", detail, *place))
        if odd.is_back_in_time:
            detail = "the event's time is before that of the event before it"
            findings.add(Finding("out_of_order", "log", detail, *place))


async def _streams(
    postgres: Postgres, vault: Vault, findings: Findings, progress: Progress
) -> tuple[int, int]:
    """How many there are, and how many of them begin in the archive."""
    kinds = CustomerCreated.type, CustomerDeleted.type
    count, archived, after = 0, 0, ""
    while True:
        async with postgres.snapshot() as snapshot:
            await snapshot.execute(LOG_SQL["lock_log"])
            page = await snapshot.fetch(Stream, SQL["streams"], after, STREAMS_MAX, *kinds)
            if not page:
                return count, archived
            for stream in page:
                for finding in stream_findings(stream):
                    findings.add(finding)
            last = page[-1].customer_id
            emails = await _snapshots(snapshot, vault, page, findings)
            emails |= await _opened(EventLog(snapshot, vault), after, last, findings)
            await _claimed(snapshot, vault, page, emails, findings)
            await _orders(snapshot, after, last, findings)
        count, after = count + len(page), last
        archived += sum(each.is_archived for each in page)
        progress.advance(len(page))


async def _snapshots(
    reader: Reader, vault: Vault, page: Sequence[Stream], findings: Findings
) -> dict[str, str]:
    """The e-mail addresses of those whose streams begin in the archive; each state is opened."""
    kept = [
        (each.customer_id, each.snapshot_version)
        for each in page
        if each.is_archived and each.snapshot_version is not None and not each.is_closed
    ]
    emails, opener = dict[str, str](), RowOpener(vault)
    columns = [list(column) for column in zip(*kept, strict=True)] or [[], []]
    for row in await reader.fetch(_Snapshot, SQL["snapshots"], *columns):
        try:
            emails[row.customer_id] = opener.state(*row).email
        except Corrupt:
            detail = "the state in log.snapshot does not open, or does not fit its model"
            findings.add(Finding("different", "log", detail, row.customer_id))
    return emails


async def _opened(log: EventLog, after: str, last: str, findings: Findings) -> dict[str, str]:
    """Each customer's e-mail address at last; every event of theirs is opened for it."""
    emails: dict[str, str] = {}
    place = after, 2**62  # behind all events of that customer
    while page := await log.of_customers(place, last, limit=OPENED_MAX, without_archived=True):
        for event in page:
            _note_email(event, emails, findings)
        place = page[-1].customer_id, page[-1].version
    return emails


def _note_email(event: StoredEvent, emails: dict[str, str], findings: Findings) -> None:
    place = event.customer_id, event.position
    if event.is_damaged:
        findings.add(Finding("different", "log", "the event does not open", *place))
        return
    if event.is_forgotten or event.type not in {CustomerCreated.type, CustomerUpdated.type}:
        return
    try:
        decoded = decode(event.type, event.schema_version, event.data)
    except Corrupt:
        findings.add(Finding("different", "log", "the event does not fit its model", *place))
        return
    if isinstance(decoded, CustomerCreated):
        emails[event.customer_id] = decoded.email
    elif isinstance(decoded, CustomerUpdated) and "email" in decoded.changes.model_fields_set:
        emails[event.customer_id] = decoded.changes.email


async def _claimed(
    reader: Reader,
    vault: Vault,
    page: Sequence[Stream],
    emails: dict[str, str],
    findings: Findings,
) -> None:
    """Whoever lives holds the claim of the address that the log says."""
    living = [each for each in page if not each.is_closed and each.customer_id in emails]
    tenants = [each.tenant for each in living]
    claims = [vault.claim(each.tenant, emails[each.customer_id]) for each in living]
    holders = await reader.fetch(_text, SQL["claimants"], tenants, claims)
    for stream, holder in zip(living, holders, strict=True):
        if holder is None:
            detail = "nobody claims the customer's e-mail address in log.email_claim"
            findings.add(Finding("missing", "log", detail, stream.customer_id))
        elif holder != stream.customer_id:
            detail = "another customer claims this one's e-mail address in log.email_claim"
            findings.add(Finding("different", "log", detail, stream.customer_id))


async def _orders(reader: Reader, after: str, last: str, findings: Findings) -> None:
    kind = OrderRecorded.type
    for odd in await reader.fetch(_OddOrder, SQL["odd_orders"], after, last, kind):
        place = odd.customer_id, odd.position
        if odd.is_unordered:
            detail = "the versions of an order do not rise"
            findings.add(Finding("out_of_order", "log", detail, *place))
        elif odd.is_missing:
            detail = "an order was recorded that has no row in log.accepted_order"
            findings.add(Finding("missing", "log", detail, *place))
        else:
            detail = "log.accepted_order has another version, or customer, than was recorded last"
            findings.add(Finding("different", "log", detail, *place))


async def _claims(postgres: Postgres, findings: Findings) -> None:
    odd = await postgres.fetch(_OddClaim, SQL["odd_claims"], ROWS_MAX)
    for claim in odd:
        detail = "a second claim of one customer in log.email_claim"
        if not claim.is_living:
            detail = "a claim in log.email_claim of a customer who does not live in that tenant"
        findings.add(Finding("unexpected", "log", detail, claim.customer_id))
    if odd:
        findings.add_unlisted("log", "unexpected", odd[0].in_all - len(odd))


async def _accepted_orders(postgres: Postgres, findings: Findings) -> None:
    statement = SQL["unrecorded_orders"]
    unrecorded = await postgres.fetch(_Unrecorded, statement, OrderRecorded.type, ROWS_MAX)
    for order in unrecorded:
        detail = "log.accepted_order has an order that the log has not recorded"
        findings.add(Finding("unexpected", "log", detail, order.customer_id))
    if unrecorded:
        findings.add_unlisted("log", "unexpected", unrecorded[0].in_all - len(unrecorded))


async def _idempotency(postgres: Postgres, findings: Findings) -> None:
    place = "", ""
    while page := await postgres.fetch(_Remembered, SQL["idempotency"], *place, ROWS_MAX):
        for row in page:
            if not row.is_there:
                detail = "log.idempotency names an event that the log does not have"
                where = row.customer_id, row.position
                findings.add(Finding("unexpected", "log", detail, *where))
        place = page[-1].tenant, page[-1].key


def _text(text: str | None) -> str | None:
    return text
