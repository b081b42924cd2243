"""The log's limits in bytes: pages, the queue before the log, its batches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from random import Random
from typing import NamedTuple

import pytest

from service import event_log
from service.appender import Appender
from service.errors import Unavailable
from service.event_log import Append, Appended, EventLog, Page
from service.events import CustomerTagged, Position
from service.postgres import Postgres
from tests.support.logs import a_change, a_creation, appending
from tests.support.topics import eventually
from tests.support.vaults import VAULT

PAGE_BYTES = 20_000
ONE_TOO_LARGE = 30_000  # bytes, for a page
PLANS_BEFORE_ONE_IS_KEPT = 6
SCANS = """
SELECT seq_scan, idx_scan FROM pg_stat_user_tables
WHERE schemaname = 'vault' AND relname = 'customer_key'
"""


class Scans(NamedTuple):
    scanned: int
    looked_up: int


@pytest.fixture
async def postgres(database: str) -> AsyncIterator[Postgres]:
    async with Postgres.connect(database) as postgres:
        yield postgres


@pytest.fixture
async def appender(postgres: Postgres) -> AsyncIterator[Appender]:
    async with appending(postgres) as appender:
        yield appender


def sized(customer: Append, version: int, size: int, *, is_compressible: bool) -> Append:
    """A change of about so many bytes of JSON."""
    text = "a" * size if is_compressible else Random(version).randbytes(size // 2).hex()
    return a_change(customer.customer_id, version, CustomerTagged(tags=(text,)))


async def scans(postgres: Postgres) -> Scans:
    """Told by the session that did them, which flushes its figures about once a second."""
    found = await postgres.fetch_one(Scans, SCANS)
    assert found is not None
    return found


def page_bytes(page: Page) -> int:
    return sum(len(event.data.encode()) + len(event.meta.encode()) for event in page)


async def all_pages(log: EventLog) -> list[Page]:
    pages = [await log.page(Position(0))]
    while pages[-1]:
        pages.append(await log.page(Position(pages[-1][-1].position)))
    return pages[:-1]


@pytest.mark.parametrize("is_compressible", [False, True])
async def test_a_page_is_bounded_in_bytes_and_loses_nothing(
    postgres: Postgres,
    appender: Appender,
    monkeypatch: pytest.MonkeyPatch,
    is_compressible: bool,
) -> None:
    monkeypatch.setattr(event_log, "PAGE_BYTES_MAX", PAGE_BYTES)
    customer = a_creation("jane@example.com")
    await appender.append(customer)
    sizes = [7_000] * 9 + [ONE_TOO_LARGE] + [50] * 9
    for version, size in enumerate(sizes, start=1):
        await appender.append(sized(customer, version, size, is_compressible=is_compressible))

    pages = await all_pages(EventLog(postgres, VAULT))

    assert [event.position for page in pages for event in page] == list(range(1, 21))
    assert [page.goes_on for page in pages] == [True] * (len(pages) - 1) + [False]
    assert [len(page) for page in pages] == [3, 2, 2, 2, 1, 1, 9]
    assert {page_bytes(page) <= PAGE_BYTES for page in pages if len(page) > 1} == {True}


async def test_a_page_that_is_cut_by_its_number_says_that_the_log_goes_on(
    postgres: Postgres, appender: Appender
) -> None:
    for number in range(4):
        await appender.append(a_creation(f"{number}@example.com"))
    log = EventLog(postgres, VAULT)

    cut, last = await log.page(Position(0), limit=2), await log.page(Position(2), limit=2)
    up_to = await log.page(Position(2), until=Position(3))

    assert ([len(cut), len(last), len(up_to)]) == [2, 2, 1]
    assert (cut.goes_on, last.goes_on, up_to.goes_on) == (True, False, True)
    assert not (await log.page(Position(4))).goes_on


async def test_a_plan_that_was_made_on_a_small_log_does_not_scan_a_larger_one(
    database: str, appender: Appender
) -> None:
    """Of the keys, that is: analyzed while there is one, they fit into a page and cost nothing."""
    await appender.append(a_creation("first@example.com"))
    async with Postgres.connect(database, pool_size_max=1) as one_session:
        await one_session.execute("VACUUM (ANALYZE) vault.customer_key, log.event")
        log = EventLog(one_session, VAULT)
        for _ in range(PLANS_BEFORE_ONE_IS_KEPT):
            await log.page(Position(0))
        await asyncio.gather(*(appender.append(a_creation(f"{n}@example.com")) for n in range(200)))
        before = await scans(one_session)

        assert len(await log.page(Position(0))) == 201

        async def is_counted() -> bool:
            return (await scans(one_session)).looked_up >= before.looked_up + 201

        await eventually(is_counted)
        assert (await scans(one_session)).scanned == before.scanned


async def test_a_long_stream_is_read_whole(
    postgres: Postgres, appender: Appender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_log, "STREAM_PAGE_EVENTS_MAX", 3)
    customer = a_creation("jane@example.com")
    await appender.append(customer)
    for version in range(1, 7):
        await appender.append(sized(customer, version, 10, is_compressible=False))

    stream = EventLog(postgres, VAULT).stream("default", customer.customer_id)

    assert [event.version async for event in stream] == list(range(1, 8))


async def test_the_queue_is_bounded_in_bytes(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.appender.queue.QUEUE_BYTES_MAX", 10_000)
    customers = [a_creation(f"{number}@example.com") for number in range(12)]
    async with appending(postgres) as other:
        await asyncio.gather(*(other.append(each) for each in customers))
    changes = [sized(each, 1, 3_000, is_compressible=False) for each in customers]
    appender = Appender(postgres, VAULT)

    waiting = [asyncio.create_task(appender.append(each)) for each in changes]
    refused = await asyncio.gather(*waiting[3:], return_exceptions=True)

    assert [each.code for each in refused if isinstance(each, Unavailable)] == ["overloaded"] * 9
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(appender.run())
        answered = await asyncio.gather(*waiting[:3])
        again = await asyncio.gather(*(appender.append(each) for each in changes[3:6]))
        appender.stop()
    assert {type(each) for each in (*answered, *again)} == {Appended}


async def test_a_batch_is_bounded_in_bytes_and_has_one_command_in_any_case(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.appender.queue.BATCH_BYTES_MAX", 10_000)
    customers = [a_creation(f"{number}@example.com") for number in range(9)]
    async with appending(postgres) as other:
        await asyncio.gather(*(other.append(each) for each in customers))
    sizes = [3_000] * 7 + [ONE_TOO_LARGE, 50]
    changes = [
        sized(each, 1, size, is_compressible=False)
        for each, size in zip(customers, sizes, strict=True)
    ]
    batches: list[int] = []
    appender = Appender(postgres, VAULT, batches.append)
    waiting = [asyncio.create_task(appender.append(each)) for each in changes]
    await asyncio.sleep(0)  # so that all of them wait before the first batch is made

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(appender.run())
        assert {type(each) for each in await asyncio.gather(*waiting)} == {Appended}
        appender.stop()

    assert batches == [3, 3, 1, 1, 1]
