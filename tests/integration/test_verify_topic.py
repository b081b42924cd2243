"""What is wrong with the topic of events is said, by kind and place; what is not, is not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from uuid import uuid4

import confluent_kafka.admin
import pytest

from service.findings import Kind
from service.kafka import WATERMARK_TYPE, ConsumedRecord, Topics, received
from tests.servers.databases import Databases
from tests.servers.server import Handle
from tests.support.verifying import System, a_system, of

Records = dict[int, list[ConsumedRecord]]
ROUNDS_MAX = 10
EVENTS_MIN = 6  # in the partition that is worked on


@pytest.fixture(scope="module")
async def made(databases: Databases, kafka_server: Handle) -> AsyncIterator[System]:
    """One for all tests here: each makes the topic anew."""
    url = await databases.create()
    async with a_system(url, kafka_server, uuid4().hex[:12]) as system:
        early = await system.traffic()
        await system.settle()
        await system.delete(early[0])
        for _ in range(ROUNDS_MAX):
            await system.traffic(2)
            await system.settle()
            if watermarks(await system.records_of(system.topic)):
                break
        yield system
    await databases.drop(url)


@pytest.fixture(scope="module")
async def healthy(made: System) -> Records:
    return await made.records_of(made.topic)


def watermarks(records: Records) -> list[tuple[int, int]]:
    """Partition and place of those that others come after."""
    return [
        (partition, place)
        for partition, of_one in records.items()
        for place, each in enumerate(of_one[:-1])
        if not is_event(each)
    ]


@pytest.fixture
async def system(made: System, healthy: Records) -> System:
    await made.craft(made.topic, healthy)
    assert (await made.verify_topic()).listed == []
    return made


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


async def test_an_event_lost_at_the_end_is_missing_where_it_was_acknowledged(
    system: System, healthy: Records
) -> None:
    records = copied(healthy)
    partition, places = worked_on(records)
    lost = position(records[partition][places[-1]])
    del records[partition][places[-1] :]
    await system.craft(system.topic, records)
    assert (await system.verify_topic()).listed == [], "nobody knows that it was published"
    async with Topics.connect(system.config) as topics:
        topic = await topics.describe(system.topic)
    assert topic is not None
    async with system.mended("relay.progress"):
        await system.damage(f"UPDATE relay.progress SET topic_id = '{topic.id}'")  # noqa: S608
        (missing,) = of(await system.verify_topic(), "kafka", "missing")
        assert (missing.position, missing.partition) == (lost, partition)


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
    "blank": (lambda each: with_header(each, "ce_forgotten", b"true"), "ce_forgotten"),
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
    altered = make(records[partition][places[2]])
    records[partition][places[2]] = altered
    ((_, place, detail),) = await found(system, records, "different")
    assert place == partition
    assert text in detail


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


async def test_what_is_older_than_the_retention_may_be_gone(
    system: System, healthy: Records
) -> None:
    records = copied(healthy)
    partition, places = worked_on(records)
    del records[partition][: places[3]]
    first = with_header(records[partition][0], "ce_previousposition", b"0")
    records[partition][0] = first
    assert len(await found(system, records, "missing")) >= 3
    short = replace(system.config, events_retention_seconds=1)
    assert (await system.verify_topic(config=short)).listed == []


async def test_a_hole_is_missing_however_old_it_is(system: System, healthy: Records) -> None:
    records = copied(healthy)
    partition, places = worked_on(records)
    lost = position(records[partition].pop(places[2]))
    await system.craft(system.topic, records)
    short = replace(system.config, events_retention_seconds=1)
    (missing,) = (await system.verify_topic(config=short)).listed
    assert (missing.kind, missing.position) == ("missing", lost)


@pytest.mark.real_kafka
async def test_what_kafka_has_removed_from_the_front_is_not_missing(
    system: System, healthy: Records
) -> None:
    partition, places = worked_on(healthy)
    admin = confluent_kafka.admin.AdminClient(
        {"bootstrap.servers": system.config.bootstrap_servers}
    )
    end = confluent_kafka.TopicPartition(system.topic, partition, places[3])
    for removed in admin.delete_records([end]).values():
        removed.result(20)
    assert (await system.verify_topic()).listed == []


@pytest.mark.real_kafka
async def test_only_what_is_committed_is_read(system: System, healthy: Records) -> None:
    """A transaction that was aborted, and one that nobody ends, hold a repeat each."""
    partition, places = worked_on(healthy)
    again = healthy[partition][places[1]]
    servers = system.config.bootstrap_servers
    for name, is_ended in (("aborted", True), ("open", False)):
        producer = confluent_kafka.Producer(
            {"bootstrap.servers": servers, "transactional.id": f"{name}-{uuid4().hex}"}
        )
        producer.init_transactions(20)
        producer.begin_transaction()
        producer.produce(
            system.topic, again.value, again.key, partition, headers=list(again.headers)
        )
        producer.flush(20)
        if is_ended:
            producer.abort_transaction(20)
        assert (await system.verify_topic()).listed == []


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
