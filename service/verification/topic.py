"""The topic of events beside the log: every event that is young enough, once, in order, as it is.

Invariant: both are read once, by position, side by side: a page of the log, then of each partition
the records up to that page's end. What is published is read first and the log's end last, so what
is on its way is never taken for missing, nor what has just been written for unknown.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from service.errors import Corrupt, Unavailable
from service.event_log import PAGE_EVENTS_MAX, EventLog, Page, StoredEvent
from service.events import Position
from service.findings import Findings, Progress
from service.kafka import (
    ConsumedRecord,
    KafkaConfig,
    ReceivedEvent,
    SideBySide,
    Topics,
    Watermark,
    partition_for,
    received,
)
from service.postgres import Postgres
from service.vault import Vault
from service.verification.log import SQL
from service.verification.partition import Partition

RETENTION_MARGIN_SECONDS = 600.0  # events this much younger than the retention may be gone


@dataclass(slots=True)
class _Cursor:
    """One partition, as far as it was read. `ahead` is the next record and what it says."""

    number: int
    state: Partition
    records: list[ConsumedRecord] = field(default_factory=list)  # the next one last
    ahead: tuple[ConsumedRecord, ReceivedEvent | Watermark] | None = None


async def verify_topic(
    postgres: Postgres,
    vault: Vault,
    config: KafkaConfig,
    published: int,
    findings: Findings,
    progress: Progress,
    *,
    page_events_max: int = PAGE_EVENTS_MAX,
) -> int:
    """How many events were compared. `published`: up to here the topic has, or had, all.

    Raises Unavailable.
    """
    log = EventLog(postgres, vault)
    head = await log.head()
    name = config.events_topic.name
    async with Topics.connect(config) as topics:
        topic = await topics.describe(name)
    if topic is None:
        raise Unavailable("broker_unavailable", f"There is no topic {name}: run migrate.")
    age = max(0.0, config.events_retention_seconds - RETENTION_MARGIN_SECONDS)
    oldest = await log.last_older_than(age)
    # Where the relay records it in the database: what was acknowledged is there, or was lost.
    acknowledged = await postgres.fetch_one(int, SQL["acknowledged"], name, topic.id, head.epoch)
    published = max(published, acknowledged or 0)
    async with SideBySide.open(config, name, topic.partitions) as reader:
        partitions = [
            Partition(number, topic.partitions, first_offset, head.epoch, findings)
            for number, first_offset in enumerate(reader.first_offsets)
        ]
        archived = await log.archived_to()
        ends = head.position, archived
        walk = _Walk(log, reader, partitions, ends, findings, progress, page_events_max)
        await walk.begin(oldest)
        await walk.go()
    for partition in partitions:
        partition.end(published)
    return sum(partition.compared for partition in partitions)


class _Walk:
    """Goes through log and topic once."""

    def __init__(
        self,
        log: EventLog,
        reader: SideBySide,
        partitions: list[Partition],
        ends: tuple[int, int],
        findings: Findings,
        progress: Progress,
        page_events_max: int,
    ) -> None:
        self._log = log
        self._reader = reader
        self._cursors = [_Cursor(number, each) for number, each in enumerate(partitions)]
        self._until, self._archived_to = ends  # the log's, and that of what is archived of it
        self._after = 0
        self._findings = findings
        self._progress = progress
        self._page_events_max = page_events_max

    async def begin(self, oldest: int) -> None:
        """Find where the log has to be read from: nothing before it has to be in the topic."""
        starts: list[int] = []
        for cursor in self._cursors:
            await self._look_ahead(cursor)
            first = None if cursor.ahead is None else cursor.ahead[1]
            cursor.state.start(first, oldest)
            starts.append(cursor.state.floor)
            if first is not None:
                starts.append(first.position - 1)
        self._after = max(self._archived_to, min([self._until, *starts]))
        for cursor in self._cursors:
            cursor.state.scan_from(self._after)
        self._progress.begin("kafka: events", self._until - self._after)

    async def go(self) -> None:
        while self._after < self._until:
            limit = self._page_events_max
            page = await self._log.page(
                Position(self._after), limit=limit, until=Position(self._until)
            )
            end = _end(page, self._after, min(self._until, self._after + limit))
            for event in page:
                key = event.customer_id.encode()
                number = partition_for(key, len(self._cursors))
                self._cursors[number].state.expect(event)
            for cursor in self._cursors:
                await self._take_until(cursor, end)
                cursor.state.end_page()
            self._progress.advance(end - self._after)
            self._after = end

    async def _take_until(self, cursor: _Cursor, end: int) -> None:
        while cursor.ahead is not None and cursor.ahead[1].position <= end:
            record, told = cursor.ahead
            event = cursor.state.take(record, told)
            if event is not None and isinstance(told, ReceivedEvent):
                await self._compare(cursor.state, event, record, told)
            await self._look_ahead(cursor)

    async def _compare(
        self, state: Partition, event: StoredEvent, record: ConsumedRecord, told: ReceivedEvent
    ) -> None:
        names = state.compare(event, record, told)
        if names and told.is_forgotten and not event.is_forgotten:
            # It may have been deleted, and published anew, since the page was read.
            again = await self._log.page(Position(event.position - 1), limit=1)
            names = state.compare(again[0], record, told) if again else names
        if names:
            state.differs(names, record, told)

    async def _look_ahead(self, cursor: _Cursor) -> None:
        """The next record that has a place in the log; what has none is found at once."""
        cursor.ahead = None
        while record := await self._next(cursor):
            told = _read(record, cursor.state)
            if told is None:
                continue
            if 0 < told.position <= self._archived_to:
                cursor.state.skip()
                continue
            if told.position > self._until:
                self._until = max(self._until, (await self._log.head()).position)
            if told.position > self._until:
                detail = f"the record says position {told.position}, and the log ends before it"
                cursor.state.unreadable(record, "unexpected", detail)
                continue
            cursor.ahead = record, told
            return

    async def _next(self, cursor: _Cursor) -> ConsumedRecord | None:
        if not cursor.records:
            cursor.records = await self._reader.next(cursor.number)
            cursor.records.reverse()
        return cursor.records.pop() if cursor.records else None


def _read(record: ConsumedRecord, state: Partition) -> ReceivedEvent | Watermark | None:
    try:
        told = received(record)
    except Corrupt:
        state.unreadable(record, "different", "the record calls itself ours and is not whole")
        return None
    if told is None:
        state.unreadable(record, "unexpected", "the record is none of ours")
    return told


def _end(page: Page, after: int, until: int) -> int:
    """Up to where a page holds all events. One may be cut short for its bytes, or have holes."""
    last = page[-1].position if page else after
    return until if not page or last == until else last
