"""One partition of the events topic beside the events of the log that belong there; pure.

Invariants: `awaited` holds the events of one page of the log, `late` at most LATE_MAX whose record
did not come while their page was at hand, so memory is bounded. Since every event is found once, at
its place in the order of positions, and the log's own versions are checked apart, the sequence of
each customer is +1 as well.
"""

from __future__ import annotations

from service.event_log import StoredEvent
from service.findings import Finding, Findings, Kind
from service.kafka import ConsumedRecord, ReceivedEvent, Watermark, partition_for
from service.verification.content import differences

LATE_MAX = 10_000  # records that may turn up later; of more, what is out of order counts as missing


class Partition:
    """Fed with a page's events, then with the records up to the page's end, and so on."""

    def __init__(
        self, number: int, partitions: int, first_offset: int, epoch: str, findings: Findings
    ) -> None:
        self._number = number
        self._partitions = partitions
        self._first_offset = first_offset
        self._epoch = epoch
        self._findings = findings
        self._scanned_from = 0
        self._floor = 0
        self._last: int | None = None  # the highest position of a record so far
        self._awaited: dict[int, StoredEvent] = {}
        self._late: dict[int, str] = {}  # customers' ids by position
        self.compared = 0
        self.last_event = 0  # the highest position of an event's record

    def start(self, first: ReceivedEvent | Watermark | None, oldest: int) -> None:
        """`first` is the first record that is left; `oldest` the last position that Kafka may have
        dropped for its age."""
        if first is None:
            self._floor = oldest if self._first_offset == 0 else 2**62
        elif self._first_offset == 0:
            self._floor = min(oldest, first.position - 1)
        else:
            self._floor = min(first.previous_position, first.position - 1)

    @property
    def floor(self) -> int:
        """Up to here nothing has to be in the partition."""
        return self._floor

    def scan_from(self, position: int) -> None:
        """The log is read from after this position on."""
        self._scanned_from = position

    def skip(self) -> None:
        """A record is left out whose event is archived: what is compared begins behind it."""
        self._first_offset = max(1, self._first_offset)

    def expect(self, event: StoredEvent) -> None:
        self._awaited[event.position] = event

    def take(self, record: ConsumedRecord, told: ReceivedEvent | Watermark) -> StoredEvent | None:
        """The next record. Gives the event back whose content is to be compared, if any."""
        if told.epoch != self._epoch:
            self._add("different", "the record is of another epoch, that is another log", record)
            if self._awaited.pop(told.position, None) is not None:
                self._last = max(self._last or 0, told.position)  # it stands in the event's place
            return None
        if isinstance(told, Watermark):
            self._chain(record, told)
            return None
        if partition_for(record.key or b"", self._partitions) != self._number:
            self._add("unexpected", "the record's key belongs to another partition", record, told)
            return None
        return self._place(record, told)

    def compare(self, event: StoredEvent, record: ConsumedRecord, told: ReceivedEvent) -> list[str]:
        """What of the record is not what the event says; nothing is found yet."""
        self.compared += 1
        return differences(event, record, told)

    def differs(self, names: list[str], record: ConsumedRecord, told: ReceivedEvent) -> None:
        detail = f"not as the log says: {', '.join(names)}"
        self._add("different", detail, record, told)

    def end_page(self) -> None:
        """The page's records have all been taken: what was not among them comes later, or never."""
        for position, event in self._awaited.items():
            if position > self._floor:
                self._late[position] = event.customer_id
        self._awaited.clear()
        while len(self._late) > LATE_MAX:
            position = next(iter(self._late))
            self._miss(position, self._late.pop(position))

    def end(self, published: int) -> int:
        """All has been read. What is late and was published is missing; how many are on their way.

        A partition is written in order, so what lies before a record that is there was published.
        """
        certain = max(published, self._last or 0)
        for position, customer_id in self._late.items():
            if position <= certain:
                self._miss(position, customer_id)
        return sum(position > certain for position in self._late)

    def unreadable(self, record: ConsumedRecord, kind: Kind, detail: str) -> None:
        self._add(kind, detail, record)

    def _place(self, record: ConsumedRecord, told: ReceivedEvent) -> StoredEvent | None:
        event = self._awaited.pop(told.position, None)
        last = self._last or 0
        if event is None:
            is_late = self._late.pop(told.position, None) is not None
            if is_late or told.position <= self._scanned_from:
                self._add("out_of_order", "the record comes after later ones", record, told)
            elif told.position <= last:
                self._add("repeated", "the record was there before", record, told)
            else:
                detail = "the log has no such event for this partition"
                self._add("unexpected", detail, record, told)
            return None
        if told.position < last:
            self._add("out_of_order", "the record comes after later ones", record, told)
        self._chain(record, told)
        self.last_event = max(self.last_event, told.position)
        return event

    def _chain(self, record: ConsumedRecord, told: ReceivedEvent | Watermark) -> None:
        """Each record names the position of the one before it."""
        last, previous = self._last, told.previous_position
        if last is not None and told.position <= last:
            if isinstance(told, Watermark):
                self._add("repeated", "the watermark says no more than a record before it", record)
            return
        self._last = told.position
        before = last or 0
        if previous == before or (last is None and self._first_offset > 0):
            return
        if previous > before:
            # An event that is not there is found by itself; this is for watermarks.
            if previous not in self._awaited and previous not in self._late:
                detail = f"the record names position {previous} before it, which is not there"
                self._add("missing", detail, record, told)
        else:
            detail = f"the record names position {previous} before it, and {before} is there"
            self._add("different", detail, record, told)

    def _miss(self, position: int, customer_id: str) -> None:
        detail = "the event is not in the topic"
        place = customer_id, position, self._number
        self._findings.add(Finding("missing", "kafka", detail, *place))

    def _add(
        self,
        kind: Kind,
        detail: str,
        record: ConsumedRecord,
        told: ReceivedEvent | Watermark | None = None,
    ) -> None:
        customer_id = told.customer_id if isinstance(told, ReceivedEvent) else None
        position = None if told is None else int(told.position)
        place = customer_id, position, record.partition, record.offset
        self._findings.add(Finding(kind, "kafka", detail, *place))
