"""Which records of the events topic may be taken: the arithmetic of positions; no I/O.

Invariants: in a partition positions rise, and each record names the one before it. A record is
taken only if that one is applied already, or taken before it; else something is missing, and the
log is read up to there first. A record whose position is not above ours is a repeat.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from projections.checkpoint import Move, Place
from service.errors import ConfigurationError, Corrupt
from service.kafka import ConsumedRecord, ReceivedEvent, Watermark, received


class Gap(NamedTuple):
    """Everything in the log after `after` and up to `until` goes before what `partition` holds."""

    partition: int
    after: int
    until: int


class Chain:
    """The partitions that are ours: how far each is applied, and how far it was read."""

    def __init__(self, epoch: str) -> None:
        self._epoch = epoch
        # Invariant: the keys of `_read` are among those of `_places`.
        self._places: dict[int, Place] = {}  # in the checkpoint
        self._read: dict[int, Place] = {}  # beyond it: taken, or known to be empty
        self._held: list[ConsumedRecord] = []  # from the one that shows the gap
        self._gap: Gap | None = None

    @property
    def partitions(self) -> frozenset[int]:
        return frozenset(self._places)

    @property
    def offsets(self) -> dict[int, int]:
        """The next record of each partition, as far as is applied."""
        return {each.partition: each.topic_offset for each in self._places.values()}

    def begin(self, place: Place) -> int:
        """Go on from a place; the offset to read from."""
        self.forget({place.partition})
        self._places[place.partition] = place
        return place.topic_offset

    def forget(self, partitions: Collection[int]) -> None:
        """They are no longer ours, or begin anew."""
        for partition in partitions:
            self._places.pop(partition, None)
            self._read.pop(partition, None)
        self._held = [record for record in self._held if record.partition not in partitions]
        if self._gap is not None and self._gap.partition in partitions:
            self._gap = None

    @property
    def gap(self) -> Gap | None:
        """What to read from the log before anything else; None when there is nothing."""
        gap = self._gap
        if gap is not None:
            gap = gap._replace(after=self._places[gap.partition].position)
            self._gap = gap if gap.after < gap.until else None
        return self._gap

    def take_held(self) -> list[ConsumedRecord]:
        """The records that waited for the gap, to be offered again."""
        held, self._held = self._held, []
        return held

    def offer(self, records: Sequence[ConsumedRecord]) -> list[ReceivedEvent]:
        """The events to apply, in order; they end where a gap shows.

        Raises ConfigurationError for records of another log.
        """
        events: list[ReceivedEvent] = []
        for number, record in enumerate(records):
            if record.partition not in self._places:
                continue
            said = _said(record)
            if said is None:
                continue
            if said.epoch != self._epoch:
                raise ConfigurationError(
                    f"topic {record.topic} holds the events of another log (epoch {said.epoch},"
                    f" here {self._epoch}): delete the topic and run `customers migrate`"
                )
            if self._shows_gap(said):
                self._held = list(records[number:])
                break
            if self._take(said) and isinstance(said, ReceivedEvent):
                events.append(said)
        return events

    def moves(self) -> list[Move]:
        """From the checkpoint to how far was read."""
        return [
            Move(self._places[each.partition], each.position, each.topic_offset, each.event_time)
            for each in self._read.values()
        ]

    def moves_over(self, end: int, time: datetime, after: int) -> list[Move]:
        """What it means that all of the log after `after` and up to `end` is applied."""
        return [
            Move(place, end, place.topic_offset, time)
            for place in self._places.values()
            if after <= place.position < end
        ]

    def settle(self, moves: Sequence[Move]) -> None:
        """The moves are in the checkpoint."""
        for move in moves:
            place = move.place()
            if self._places.get(place.partition) == move.seen:
                self._places[place.partition] = place
                read = self._read.get(place.partition)
                if read is not None and read.position <= place.position:
                    del self._read[place.partition]

    def _shows_gap(self, said: ReceivedEvent | Watermark) -> bool:
        """A first record (previous position 0) proves nothing: the topic may have been wiped."""
        reached = self._reached(said.partition).position
        if said.position <= reached + 1 or 0 < said.previous_position <= reached:
            return False
        until = said.previous_position or said.position - 1
        self._gap = Gap(said.partition, reached, until)
        return True

    def _take(self, said: ReceivedEvent | Watermark) -> bool:
        """Note how far the partition is read. False for a repeat."""
        reached = self._reached(said.partition)
        is_new = said.position > reached.position
        time = said.time if is_new and isinstance(said, ReceivedEvent) else reached.event_time
        self._read[said.partition] = reached._replace(
            position=max(said.position, reached.position),
            topic_offset=said.offset + 1,
            event_time=time,
        )
        return is_new

    def _reached(self, partition: int) -> Place:
        return self._read.get(partition) or self._places[partition]


def _said(record: ConsumedRecord) -> ReceivedEvent | Watermark | None:
    """None where the record is none of ours, or broken: then the chain shows what is missing."""
    try:
        return received(record)
    except Corrupt:
        return None
