"""What is wrong with the topic of events is said, by kind and place; what is not, is not."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable

import pytest

from service.findings import Kind
from service.kafka import ConsumedRecord
from tests.servers.databases import Databases
from tests.servers.server import Handle
from tests.support.crafted import (
    Records,
    copied,
    header,
    position,
    watermarks,
    with_header,
    worked_on,
)
from tests.support.verifying import System, a_system_alone, of

ROUNDS_MAX = 10


@pytest.fixture(scope="module")
async def made(databases: Databases, kafka_server: Handle) -> AsyncIterator[System]:
    """One for all tests here: each makes the topic anew."""
    async with a_system_alone(databases, kafka_server) as system:
        early = await system.traffic()
        await system.settle()
        await system.delete(early[0])
        for _ in range(ROUNDS_MAX):
            await system.traffic(2)
            await system.settle()
            if watermarks(await system.records_of(system.topic)):
                break
        yield system


@pytest.fixture(scope="module")
async def healthy(made: System) -> Records:
    return await made.records_of(made.topic)


@pytest.fixture
async def system(made: System, healthy: Records) -> System:
    return await made.healed(healthy)


async def found(
    system: System, records: Records, kind: Kind, *, page_events_max: int = 1_000
) -> list[tuple[int | None, int | None, str]]:
    """Position, partition and detail of what is found; all of it must be of one kind."""
    await system.craft(system.topic, records)
    findings = await system.verify_topic(page_events_max=page_events_max)
    assert set(findings.counts) == {("kafka", kind)}, findings.listed
    return [(each.position, each.partition, each.detail) for each in findings.listed]


@pytest.mark.parametrize("page_events_max", [1_000, 3])
@pytest.mark.parametrize("number", [0, 2, -2])
async def test_an_event_that_was_lost_is_missing(
    number: int, page_events_max: int, system: System, healthy: Records
) -> None:
    records = copied(healthy)
    partition, places = worked_on(records)
    lost = position(records[partition].pop(places[number]))
    said = await found(system, records, "missing", page_events_max=page_events_max)
    assert said == [(lost, partition, "the event is not in the topic")]


@pytest.mark.parametrize("page_events_max", [1_000, 3])
async def test_a_repeat_is_said(page_events_max: int, system: System, healthy: Records) -> None:
    records = copied(healthy)
    partition, places = worked_on(records)
    again = records[partition][places[1]]
    records[partition].insert(places[4], again)
    said = await found(system, records, "repeated", page_events_max=page_events_max)
    assert said == [(position(again), partition, "the record was there before")]


@pytest.mark.parametrize("page_events_max", [1_000, 3])
async def test_what_changed_places_is_out_of_order(
    page_events_max: int, system: System, healthy: Records
) -> None:
    records = copied(healthy)
    partition, places = worked_on(records)
    early = records[partition].pop(places[1])
    records[partition].insert(places[4], early)
    said = await found(system, records, "out_of_order", page_events_max=page_events_max)
    assert said == [(position(early), partition, "the record comes after later ones")]


Change = Callable[[ConsumedRecord], ConsumedRecord]
CHANGES: dict[str, tuple[Change, str]] = {
    "epoch": (lambda each: with_header(each, "ce_epoch", b"0" * 32), "epoch"),
    "value": (lambda each: each._replace(value=b'{"other": 1}'), "value"),
    "no value": (lambda each: each._replace(value=None), "value"),
    "version": (lambda each: with_header(each, "ce_sequence", b"77"), "ce_sequence"),
    "id": (lambda each: with_header(each, "ce_id", b"evt_0"), "ce_id"),
    "time": (lambda each: with_header(each, "ce_time", b"2024-01-01T00:00:00.000Z"), "ce_time"),
    "tenant": (lambda each: with_header(each, "ce_tenant", b"nobody"), "ce_tenant"),
    "type": (lambda each: with_header(each, "ce_type", b"customer.new.v1"), "ce_type"),
    "more": (lambda each: with_header(each, "ce_more", b"1"), "ce_more"),
    # Of a customer who lives the mark is wrong, of one who is forgotten what is still there.
    "blank": (lambda each: with_header(each, "ce_forgotten", b"true"), "ce_forgotten|value"),
    "damaged": (lambda each: with_header(each, "ce_damaged", b"true"), "ce_damaged"),
    "before": (lambda each: with_header(each, "ce_previousposition", b"0"), "0 before it"),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_record_that_does_not_say_what_the_log_says_is_different(
    change: str, system: System, healthy: Records
) -> None:
    make, text = CHANGES[change]
    records = copied(healthy)
    partition, places = worked_on(records)
    of_one = records[partition]
    # Who was deleted before being published is marked as forgotten already.
    chosen = next(each for each in places[2:] if make(of_one[each]) != of_one[each])
    of_one[chosen] = make(of_one[chosen])
    ((_, place, detail),) = await found(system, records, "different")
    assert place == partition
    assert re.search(text, detail)


async def test_a_record_that_is_not_whole_is_said_and_its_event_is_missing(
    system: System, healthy: Records
) -> None:
    records = copied(healthy)
    partition, places = worked_on(records)
    headers = tuple(
        each for each in records[partition][places[2]].headers if each[0] != "ce_sequence"
    )
    lost = position(records[partition][places[2]])
    records[partition][places[2]] = records[partition][places[2]]._replace(headers=headers)
    await system.craft(system.topic, records)
    findings = await system.verify_topic()
    assert [each.kind for each in findings.listed] == ["different", "missing"]
    assert findings.listed[1].position == lost


async def test_a_record_in_another_partition_is_said_and_missing_in_its_own(
    system: System, healthy: Records
) -> None:
    records = copied(healthy)
    partition, places = worked_on(records)
    other = next(each for each in records if each != partition)
    moved = records[partition].pop(places[2])
    after = [place for place, each in enumerate(records[other]) if position(each) > position(moved)]
    records[other].insert(after[0] if after else len(records[other]), moved)
    await system.craft(system.topic, records)
    findings = await system.verify_topic()
    assert set(findings.counts) == {("kafka", "missing"), ("kafka", "unexpected")}
    (unexpected,) = of(findings, "kafka", "unexpected")
    assert (unexpected.partition, unexpected.position) == (other, position(moved))
    (missing,) = of(findings, "kafka", "missing")
    assert (missing.partition, missing.position) == (partition, position(moved))


async def test_a_watermark_that_was_lost_is_missing(system: System, healthy: Records) -> None:
    records = copied(healthy)
    partition, place = watermarks(records)[0]
    records[partition].pop(place)
    ((_, where, detail),) = await found(system, records, "missing")
    assert where == partition
    assert "names position" in detail


async def test_a_position_that_the_log_does_not_have_is_unexpected(
    system: System, healthy: Records
) -> None:
    records = copied(healthy)
    partition, _ = worked_on(records)
    last = records[partition][-1]
    ahead = with_header(last, "ce_position", b"1000000")
    ahead = with_header(ahead, "ce_previousposition", b"%d" % position(last))
    records[partition].append(ahead)
    ((_, where, detail),) = await found(system, records, "unexpected")
    assert where == partition
    assert "position 1000000" in detail


async def test_a_record_of_somebody_else_is_unexpected(system: System, healthy: Records) -> None:
    records = copied(healthy)
    partition, places = worked_on(records)
    alien = records[partition][0]._replace(headers=(("ce_type", b"shop.sold.v1"),))
    records[partition].insert(places[2], alien)
    ((_, where, detail),) = await found(system, records, "unexpected")
    assert where == partition
    assert detail == "the record is none of ours"


async def test_a_customer_deleted_since_is_compared_but_for_the_person(
    system: System, healthy: Records
) -> None:
    """Records in clear are what they were; what is not personal in them still counts."""
    records = copied(healthy)
    deleted = {
        each.key
        for of_one in records.values()
        for each in of_one
        if header(each, "ce_type") == b"customer.deleted.v1"
    }
    ((partition, place),) = [
        (partition, place)
        for partition, of_one in records.items()
        for place, each in enumerate(of_one)
        if each.key in deleted
        and header(each, "ce_type") == b"customer.created.v1"
        and header(each, "ce_forgotten") is None
    ]
    created = records[partition][place]
    assert b"example.com" in (created.value or b"")
    altered = (created.value or b"").replace(b'"vip"', b'"VIP"')
    assert altered != created.value
    records[partition][place] = created._replace(value=altered)
    ((_, _, detail),) = await found(system, records, "different")
    assert "value" in detail
