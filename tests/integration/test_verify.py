"""A system that is well is found so, at rest and at work, in pieces of any size."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from service.event_log import EventLog
from service.kafka import WATERMARK_TYPE
from tests.servers.server import Handle
from tests.support.verifying import Sizes, System, a_system, busy

ROUNDS = 5


@pytest.fixture
async def system(database: str, kafka_server: Handle, topic_suffix: str) -> AsyncIterator[System]:
    async with a_system(database, kafka_server, topic_suffix) as made:
        yield made


async def test_nothing_is_found_where_all_is_well(system: System) -> None:
    await system.traffic()
    await system.settle()
    await system.traffic(1)
    await system.settle()
    records = await system.records_of(system.topic)
    types = [dict(each.headers)["ce_type"] for of_one in records.values() for each in of_one]
    assert WATERMARK_TYPE.encode() in types

    findings = await system.verify()
    assert findings.listed == []
    head = await EventLog(system.postgres).head()
    assert system.records == head.position
    assert system.log is not None
    assert system.log[:2] == (head.position, 10)
    assert system.compared is not None
    assert (system.compared.customers, system.compared.behind) == (10, 0)
    assert system.states == 10


async def test_an_empty_system_is_well(system: System) -> None:
    assert (await system.verify()).listed == []


async def test_what_is_on_its_way_is_not_missing(system: System) -> None:
    await system.traffic(2)
    await system.settle()
    await system.traffic(2)
    findings = await system.verify()
    assert findings.listed == []
    assert system.compared is not None
    assert system.compared.behind == 4


async def test_nothing_is_found_while_all_are_at_work(system: System) -> None:
    stop = asyncio.Event()
    async with system.at_work(), asyncio.TaskGroup() as tasks:
        writers = [tasks.create_task(busy(system, stop)) for _ in range(3)]
        heads: list[int] = []
        for _ in range(ROUNDS):
            findings = await system.verify(Sizes(page_events_max=20, customers_max=5))
            assert findings.listed == []
            heads.append((await EventLog(system.postgres).head()).position)
        stop.set()
        await asyncio.gather(*writers)
    assert sorted(set(heads)) == heads, "it was written all the time"


async def test_small_pieces_find_the_same_and_are_many(system: System) -> None:
    await system.traffic(10)
    await system.settle()
    sizes = Sizes(page_events_max=7, customers_max=2, bucket_customers_max=4)
    assert (await system.verify(sizes)).listed == []
    pages = system.watched.steps["kafka: events"]
    assert max(pages) == 7
    assert sum(pages) == system.watched.totals["kafka: events"] == system.records
    chunks = system.watched.steps["read model: customers"]
    assert max(chunks) == 2
    assert sum(chunks) == 12
    assert system.states == 12
