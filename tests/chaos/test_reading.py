"""A topic that was tampered with is noticed by who reads it, or by the comparison with the log."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from tests.chaos.a_story import UPDATED, rows
from tests.chaos.chain import WATERMARK, Reading
from tests.chaos.findings import Findings
from tests.chaos.log import Log, check_reading


def records() -> list[tuple[int, dict[str, str]]]:
    """Two partitions: one has all events of the log above, the other only a watermark."""

    def record(position: int, previous: int, kind: str, version: int = 0) -> dict[str, str]:
        place = {"ce_position": str(position), "ce_previousposition": str(previous)}
        about = {"ce_subject": "cust_1", "ce_sequence": str(version)} if version else {}
        return {**place, **about, "ce_type": kind}

    events = [(row.position, row.position - 1, row.kind, row.version) for row in rows()]
    return [*((0, record(*event)) for event in events), (1, record(2, 0, WATERMARK))]


def read(given: Sequence[tuple[int, dict[str, str]]], *, repeats_allowed: bool = False) -> Findings:
    reading = Reading(2, repeats_allowed=repeats_allowed)
    for partition, headers in given:
        reading.take(partition, headers)
    reading.findings.add_all(check_reading(reading.identities, Log(rows()), "subscriber"))
    return reading.findings


def test_of_a_topic_that_is_right_nothing_is_said() -> None:
    assert not read(records())


@pytest.mark.parametrize(
    ("tamper", "kind"),
    [
        (lambda topic: topic.pop(1), "lost"),
        (lambda topic: topic.pop(2), "lost"),
        (lambda topic: topic.insert(1, topic[0]), "twice"),
        (lambda topic: topic.insert(1, topic.pop(2)), "out of order"),
        (lambda topic: topic[1][1].update(ce_sequence="3"), "out of order"),
        (lambda topic: topic[1][1].update(ce_subject="cust_2", ce_sequence="1"), "wrong"),
        (lambda topic: topic[1][1].update(ce_type=UPDATED), "wrong"),
        (lambda topic: topic.append((0, {**topic[2][1], "ce_position": "4"})), "wrong"),
    ],
    ids=("removed", "cut off", "repeated", "swapped", "version", "customer", "type", "invented"),
)
def test_a_topic_that_was_tampered_with(
    tamper: Callable[[list[tuple[int, dict[str, str]]]], object], kind: str
) -> None:
    topic = records()
    tamper(topic)
    assert kind in read(topic).counts


def test_a_repeat_is_allowed_where_delivery_is_at_least_once() -> None:
    topic = records()
    topic.insert(1, topic[0])
    assert not read(topic, repeats_allowed=True)


def test_a_topic_that_was_made_anew_must_repeat_what_it_was() -> None:
    reading = Reading(2, repeats_allowed=False)
    for partition, headers in records()[:2]:
        reading.take(partition, headers)
    reading.begin_anew()
    for partition, headers in records():
        reading.take(partition, headers)
    assert not reading.findings
    assert reading.republished == 2
    reading.begin_anew()
    reading.take(0, {**records()[0][1], "ce_type": UPDATED})
    assert reading.findings.counts.keys() == {"wrong"}
