"""Where publishing stands and goes on from, as pure decisions."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from service.errors import ConfigurationError, Corrupt, CustomersError
from service.event_log import Head, StoredEvent
from service.kafka import (
    ConsumedRecord,
    Tail,
    Watermark,
    partition_for,
    received,
    watermark_record,
)
from service.relay import LeaseLost
from service.relay.laggards import WATERMARK_SECONDS, Laggards
from service.relay.standing import (
    Progress,
    Standing,
    newest,
    next_batch,
    resume,
    with_watermarks,
)
from tests.unit.test_kafka_mapping import EVENT, consumed

NOW = datetime(2024, 3, 10, tzinfo=UTC)
HEAD = Head("e", 100, NOW)
EMPTY = Tail(0, None)
EXPIRED = Tail(40, None)


def tail(position: int, epoch: str = "e") -> Tail:
    return Tail(0, consumed(watermark_record(0, position, 0, epoch.encode(), NOW)))


def page(first: int, last: int) -> list[StoredEvent]:
    return [
        EVENT._replace(position=position, customer_id=f"cust_{position % 5}")
        for position in range(first, last + 1)
    ]


def published(topic_id: str = "t", position: int = 90, *tails: int, epoch: str = "e") -> Progress:
    return Progress(topic_id, epoch, position, tails or (90, 88, 0))


def test_every_record_names_the_one_before_it_in_its_partition() -> None:
    batch = next_batch(Standing("e", 10, (9, 0, 10)), page(11, 60))

    last = dict(enumerate((9, 0, 10)))
    for partition, records in batch.records.items():
        for record in records:
            event = received(consumed(record, partition))
            assert event.previous_position == last[partition]
            assert partition_for(event.customer_id.encode(), 3) == partition
            last[partition] = event.position
    assert batch.after == Standing("e", 60, tuple(last.values()))
    assert batch.events == 50


def test_what_a_partition_already_holds_is_not_sent_again() -> None:
    batch = next_batch(Standing("e", 0, (30, 30, 10)), page(1, 40))

    sent = [received(consumed(r)).position for records in batch.records.values() for r in records]

    assert sorted(sent) == sorted(
        event.position
        for event in page(1, 40)
        if event.position > (30, 30, 10)[partition_for(event.customer_id.encode(), 3)]
    )


def test_a_hole_in_the_log_is_never_published_over() -> None:
    with pytest.raises(Corrupt, match="hole after position 10"):
        next_batch(Standing("e", 10, (0,)), page(12, 13))


def test_watermarks_go_to_idle_partitions_and_name_what_is_acknowledged() -> None:
    standing = Standing("e", 10, (9, 0, 10))
    batch = with_watermarks(next_batch(standing, ()), standing, [0, 1], NOW)

    assert [received(consumed(r, p)) for p, (r,) in batch.records.items()] == [
        Watermark(10, 9, "e", 0, 0),
        Watermark(10, 0, "e", 1, 0),
    ]
    assert batch.after == Standing("e", 10, (10, 10, 10))


def test_a_partition_with_events_in_the_batch_needs_no_watermark() -> None:
    standing = Standing("e", 10, (9, 9, 9))
    batch = next_batch(standing, page(11, 60))
    assert with_watermarks(batch, standing, list(batch.records), NOW) == batch


def test_a_partition_is_due_once_it_has_been_behind_for_long_enough() -> None:
    laggards = Laggards()
    behind = Standing("e", 10, (10, 4))

    assert laggards.due(behind, 0.0) == []
    assert laggards.due(behind, WATERMARK_SECONDS / 2) == []
    assert laggards.due(behind, WATERMARK_SECONDS) == [1]
    assert laggards.due(Standing("e", 11, (10, 11)), WATERMARK_SECONDS) == []
    assert laggards.due(Standing("e", 11, (10, 11)), 2 * WATERMARK_SECONDS) == [0]
    assert laggards.due(Standing("e", 11, (11, 11)), 9.0) == []
    assert not laggards


def test_the_first_start_publishes_what_the_topic_would_keep() -> None:
    assert resume(HEAD, "t", [EMPTY] * 3, None, 20) == Standing("e", 20, (0, 0, 0))


def test_a_start_where_nothing_happened_goes_on() -> None:
    found = [tail(90), tail(88), EMPTY]
    assert resume(HEAD, "t", found, published(), 20) == Standing("e", 90, (90, 88, 0))


def test_what_was_acknowledged_and_not_recorded_is_known() -> None:
    found = [tail(95), tail(88), tail(93)]
    assert resume(HEAD, "t", found, published(), 20) == Standing("e", 90, (95, 88, 93))


def test_records_that_grew_too_old_are_not_lost() -> None:
    found = [EXPIRED, tail(88), EMPTY]
    assert resume(HEAD, "t", found, published(), 20) == Standing("e", 90, (90, 88, 0))


def test_a_partition_that_lost_records_gets_them_again() -> None:
    found = [tail(90), tail(50), EMPTY]
    assert resume(HEAD, "t", found, published(), 20) == Standing("e", 50, (90, 50, 0))


def test_what_is_too_old_is_not_published_again() -> None:
    found = [EMPTY, tail(88), EMPTY]
    assert resume(HEAD, "t", found, published(), 70) == Standing("e", 70, (0, 88, 0))


def test_a_topic_that_was_made_again_gets_all_again_from_nothing() -> None:
    found = [EMPTY, tail(99), EMPTY]
    assert resume(HEAD, "new", found, published("old"), 20) == Standing("e", 20, (0, 0, 0))


@pytest.mark.parametrize(
    ("recorded", "expected"),
    [
        ((), None),
        ((None, None), None),
        ((published("t", 90), None), published("t", 90)),
        ((published("t", 90), published("t", 95)), published("t", 95)),
        ((published("old", 99), published("t", 90)), published("t", 90)),
        ((None, published("old", 99)), published("old", 99)),
    ],
)
def test_of_several_records_of_progress_the_latest_of_this_topic_holds(
    recorded: tuple[Progress | None, ...], expected: Progress | None
) -> None:
    assert newest("t", recorded) == expected


@pytest.mark.parametrize(
    ("found", "recorded", "error", "sentence"),
    [
        ([tail(101)], None, Corrupt, "Kafka holds position 101 and the log ends at 100"),
        ([tail(9, "f")], None, ConfigurationError, r"another log \(epoch f, here e\)"),
        ([EMPTY], published("t", 101, 101), Corrupt, "position 101 was published"),
        ([EMPTY], published("t", 90, 90, epoch="f"), ConfigurationError, "came from another log"),
        (
            [Tail(0, ConsumedRecord("t", 0, 0, 0, None, b"{}", ()))],
            None,
            ConfigurationError,
            "not the relay's",
        ),
    ],
)
def test_publishing_is_refused_where_it_would_do_harm(
    found: list[Tail], recorded: Progress | None, error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        resume(HEAD, "t", found, recorded, 0)


def test_a_lost_lease_is_an_error_of_ours() -> None:
    assert issubclass(LeaseLost, CustomersError)
