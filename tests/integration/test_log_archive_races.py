"""A partition leaves and comes back, again and again, under readers of every kind: whoever reads
sees all that there is, or is told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from service.errors import EventsArchived
from service.event_log import EventLog
from service.events import Position
from service.identifiers import CustomerId
from service.log_archive import upkeep
from tests.servers.server import Handle
from tests.support.archiving import Archive, documents, log_of, old_customers, small_partitions
from tests.support.verifying import System, a_system

RACES = 15


@dataclass
class Readers:
    """Each reads once, and compares with what was there before anything was archived."""

    system: System
    log: EventLog
    old: CustomerId
    shown: bytes
    others: list[int]  # positions of another tenant
    head: int

    async def page(self) -> None:
        found = [event.position for event in await self.log.page(Position(0), limit=5)]
        assert found == [1, 2, 3, 4, 5]

    async def all_of_it(self) -> None:
        found = [event.position for event in await self.log.page(Position(0), limit=self.head)]
        assert found == list(range(1, self.head + 1))

    async def of_tenant(self) -> None:
        page = await self.log.of_tenant("other", None, 0, self.head, limit=1_000)
        assert [event.position for event in page] == self.others

    async def of_nobody(self) -> None:
        assert await self.log.of_tenant("nobody", None, 0, self.head, limit=10) == []

    async def customer(self) -> None:
        assert await documents(self.system, [self.old]) == [self.shown]

    async def stream(self) -> None:
        versions = [each.version async for each in self.log.stream("default", self.old)]
        assert versions == list(range(1, 10))

    async def customers(self) -> None:
        assert len(await self.log.of_customers(("", 0), "z", limit=1_000)) == self.head

    @property
    def all(self) -> list[Callable[[], Awaitable[None]]]:
        of_log = self.page, self.all_of_it, self.of_tenant, self.of_nobody
        return [*of_log, self.customer, self.stream, self.customers]


async def readers_of(system: System) -> Readers:
    (old, *_) = await old_customers(system, 1)
    log = log_of(system)
    (shown,) = await documents(system, [old])
    head = (await log.head()).position
    page = await log.page(Position(0), limit=head)
    others = [event.position for event in page if event.tenant == "other"]
    return Readers(system, log, old, shown, others, head)


async def test_readers_that_race_with_it_see_all_or_are_told(
    database: str,
    kafka_server: Handle,
    topic_suffix: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(upkeep, "PAUSE_SECONDS", 0.01)
    stop, seen = asyncio.Event(), {"whole": 0, "told": 0}

    async def keep_reading(what: Callable[[], Awaitable[None]]) -> None:
        while not stop.is_set():
            try:
                await what()
            except EventsArchived:
                seen["told"] += 1
            else:
                seen["whole"] += 1

    async with a_system(database, kafka_server, topic_suffix) as system:
        await small_partitions(system.postgres)
        readers, archive = await readers_of(system), Archive(system.postgres, tmp_path)
        async with asyncio.TaskGroup() as group:
            for what in readers.all:
                group.create_task(keep_reading(what))
            for _ in range(RACES):
                await archive.archive()
                await archive.attach()
            stop.set()
    assert min(seen.values()) > RACES
