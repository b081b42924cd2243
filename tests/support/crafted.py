"""Records of the events topic, taken apart and put together otherwise, for tests."""

from __future__ import annotations

from service.kafka import WATERMARK_TYPE, ConsumedRecord, received

Records = dict[int, list[ConsumedRecord]]
EVENTS_MIN = 6  # in the partition that is worked on


def watermarks(records: Records) -> list[tuple[int, int]]:
    """Partition and place of those that others come after."""
    return [
        (partition, place)
        for partition, of_one in records.items()
        for place, each in enumerate(of_one[:-1])
        if not is_event(each)
    ]


def header(record: ConsumedRecord, name: str) -> bytes | None:
    return dict(record.headers).get(name)


def with_header(record: ConsumedRecord, name: str, value: bytes) -> ConsumedRecord:
    return record._replace(headers=tuple({**dict(record.headers), name: value}.items()))


def position(record: ConsumedRecord) -> int:
    told = received(record)
    assert told is not None
    return told.position


def is_event(record: ConsumedRecord) -> bool:
    return header(record, "ce_type") != WATERMARK_TYPE.encode()


def worked_on(records: Records) -> tuple[int, list[int]]:
    """A partition with enough events, and where they are in it."""
    for partition, of_one in records.items():
        places = [place for place, each in enumerate(of_one) if is_event(each)]
        if len(places) >= EVENTS_MIN:
            return partition, places
    raise AssertionError("no partition has enough events")


def copied(records: Records) -> Records:
    return {partition: list(of_one) for partition, of_one in records.items()}
