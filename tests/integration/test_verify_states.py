"""What is wrong with the topic of states is said, by kind and place."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest

from service.findings import Findings, Kind
from service.kafka import STATE_TYPE, ConsumedRecord, Topics
from service.verification import verify_states
from tests.servers.databases import Databases
from tests.servers.server import Handle
from tests.support.verifying import System, a_system_alone

Records = dict[int, list[ConsumedRecord]]


@pytest.fixture(scope="module")
async def system(databases: Databases, kafka_server: Handle) -> AsyncIterator[System]:
    """One for all tests here: each makes the topic anew."""
    async with a_system_alone(databases, kafka_server) as made:
        await made.traffic()
        await made.settle()
        yield made


@pytest.fixture(scope="module")
async def healthy(system: System) -> Records:
    return await system.records_of(system.config.state_topic.name)


async def verified(system: System) -> Findings:
    findings = Findings()
    system.states = await verify_states(system.postgres, system.config, findings, system.watched)
    return findings


async def craft(system: System, records: Records) -> None:
    """The topic as if the writer of states had made it so."""
    await system.craft(system.config.state_topic.name, records)
    async with Topics.connect(system.config) as topics:
        topic = await topics.describe(system.config.state_topic.name)
    assert topic is not None
    moved = f"UPDATE projection.checkpoint SET topic_id = '{topic.id}'"  # noqa: S608
    await system.damage(f"{moved} WHERE projection = 'states'")


def is_state(record: ConsumedRecord) -> bool:
    return dict(record.headers)["ce_type"] == STATE_TYPE.encode()


def last_of(records: Records, *, is_tombstone: bool = False) -> tuple[int, int]:
    """Partition and place of the last record of a customer who lives, or was deleted."""
    last = {
        each.key: (partition, place)
        for partition, of_one in records.items()
        for place, each in enumerate(of_one)
        if is_state(each)
    }
    return next(
        place
        for place in last.values()
        if (records[place[0]][place[1]].value is None) == is_tombstone
    )


def with_header(record: ConsumedRecord, name: str, value: bytes) -> ConsumedRecord:
    return record._replace(headers=tuple({**dict(record.headers), name: value}.items()))


Change = Callable[[ConsumedRecord], ConsumedRecord]
CHANGES: dict[str, tuple[bool, Change, set[Kind], str]] = {
    "value": (False, lambda each: each._replace(value=b"{}"), {"different"}, "is not what is"),
    "tombstone": (False, lambda each: each._replace(value=None), {"different"}, "is not what is"),
    "older": (False, lambda each: with_header(each, "ce_sequence", b"1"), {"different"}, "shows"),
    "newer": (False, lambda each: with_header(each, "ce_sequence", b"99"), {"different"}, "99"),
    "epoch": (
        *(False, lambda each: with_header(each, "ce_epoch", b"0" * 32)),
        *({"different", "missing"}, "another epoch|has no record"),
    ),
    "not whole": (
        *(False, lambda each: with_header(each, "ce_sequence", b"x")),
        *({"different", "missing"}, "not whole|has no record"),
    ),
    "of a deleted customer": (
        *(True, lambda each: each._replace(value=b"{}")),
        *({"different"}, "not a tombstone"),
    ),
}


@pytest.mark.parametrize("name", CHANGES)
async def test_a_last_record_that_is_wrong_is_said(
    name: str, system: System, healthy: Records
) -> None:
    is_tombstone, change, kinds, details = CHANGES[name]
    records = {partition: list(of_one) for partition, of_one in healthy.items()}
    partition, place = last_of(records, is_tombstone=is_tombstone)
    # All earlier ones of the customer go as well, as compaction has it.
    wrong = change(records[partition][place])
    records[partition] = [each for each in records[partition] if each.key != wrong.key]
    await craft(system, {**records, partition: [*records[partition], wrong]})
    findings = await verified(system)
    assert {kind for _, kind in findings.counts} == kinds, findings.listed
    for each in findings.listed:
        assert each.where == "states"
        assert each.customer_id == (wrong.key or b"").decode()
        assert any(text in each.detail for text in details.split("|")), each


async def test_a_customer_without_a_record_is_missing(system: System, healthy: Records) -> None:
    records = {partition: list(of_one) for partition, of_one in healthy.items()}
    partition, place = last_of(records)
    gone = records[partition][place].key
    records[partition] = [each for each in records[partition] if each.key != gone]
    await craft(system, records)
    (finding,) = (await verified(system)).listed
    assert (finding.kind, finding.customer_id) == ("missing", (gone or b"").decode())


async def test_an_older_state_before_a_newer_one_does_no_harm(
    system: System, healthy: Records
) -> None:
    records = {
        partition: [*of_one, *(each for each in of_one if is_state(each))]
        for partition, of_one in healthy.items()
    }
    await craft(system, records)
    assert (await verified(system)).listed == []


async def test_a_topic_that_is_being_written_anew_lacks_nothing(
    system: System, healthy: Records
) -> None:
    await craft(system, healthy)
    await system.craft(system.config.state_topic.name, {})
    assert (await verified(system)).listed == []


async def test_a_state_of_nobody_is_unexpected(system: System, healthy: Records) -> None:
    records = {partition: list(of_one) for partition, of_one in healthy.items()}
    partition, place = last_of(records)
    await craft(system, records)
    async with system.mended("customers_v1.customer"):
        key = (records[partition][place].key or b"").decode()
        await system.damage(f"DELETE FROM customers_v1.customer WHERE id = '{key}'")  # noqa: S608
        (finding,) = (await verified(system)).listed
        assert (finding.kind, finding.customer_id) == ("unexpected", key)
