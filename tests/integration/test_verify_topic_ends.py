"""What the topic of events no longer holds, or does not hold yet, is told from what it lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from uuid import uuid4

import confluent_kafka.admin
import pytest

from service.kafka import Topics
from tests.servers.databases import Databases
from tests.servers.server import Handle
from tests.support.crafted import (
    Records,
    copied,
    position,
    with_header,
    worked_on,
)
from tests.support.verifying import System, a_system_alone, of

LATE_SECONDS = 1.0  # after which a transaction ends


@pytest.fixture(scope="module")
async def made(databases: Databases, kafka_server: Handle) -> AsyncIterator[System]:
    """One for all tests here: each makes the topic anew."""
    async with a_system_alone(databases, kafka_server) as system:
        await system.traffic()
        await system.settle()
        yield system


@pytest.fixture(scope="module")
async def healthy(made: System) -> Records:
    return await made.records_of(made.topic)


@pytest.fixture
async def system(made: System, healthy: Records) -> System:
    return await made.healed(healthy)


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


async def test_what_is_older_than_the_retention_may_be_gone(
    system: System, healthy: Records
) -> None:
    records = copied(healthy)
    partition, places = worked_on(records)
    del records[partition][: places[3]]
    first = with_header(records[partition][0], "ce_previousposition", b"0")
    records[partition][0] = first
    await system.craft(system.topic, records)
    assert (await system.verify_topic()).counts["kafka", "missing"] >= 3
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


@pytest.mark.real_kafka
async def test_a_transaction_that_is_about_to_end_is_waited_for(
    system: System, healthy: Records
) -> None:
    """What is committed while it is read was written before, so it belongs to the topic."""
    records = copied(healthy)
    partition, places = worked_on(records)
    rest = records[partition][places[-2] :]
    del records[partition][places[-2] :]
    await system.craft(system.topic, records)
    producer = confluent_kafka.Producer(
        {
            "bootstrap.servers": system.config.bootstrap_servers,
            "transactional.id": f"late-{uuid4().hex}",
        }
    )
    producer.init_transactions(20)
    producer.begin_transaction()
    for each in rest:
        producer.produce(system.topic, each.value, each.key, partition, headers=list(each.headers))
    producer.flush(20)
    async with Topics.connect(system.config) as topics:
        topic = await topics.describe(system.topic)
    assert topic is not None
    async with system.mended("relay.progress"):
        await system.damage(f"UPDATE relay.progress SET topic_id = '{topic.id}'")  # noqa: S608
        loop = asyncio.get_running_loop()
        commit = partial(producer.commit_transaction, 20)
        loop.call_later(LATE_SECONDS, loop.run_in_executor, None, commit)
        assert (await system.verify_topic()).listed == []
