"""Events per second from the log to Kafka, and from Kafka to the read model, with a backlog.

Invariant: a rate runs from the moment when work is seen to move to the moment when all of it is
done, as the service itself has recorded it; starting up is not counted, and no event twice.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from time import monotonic
from typing import NamedTuple

import aiohttp

from benchmarks.backlog import Backlog, Segment
from benchmarks.figures import CHANGES_PROJECTED, CREATIONS_PROJECTED, RELAY, Figure
from benchmarks.processes import Running, Service
from benchmarks.seeding import SQL
from benchmarks.wrk import LoadFailed
from service.kafka import KafkaConfig
from service.postgres import Postgres

LOOK_SECONDS = 0.02
JOINING_SECONDS = 4.0  # a heartbeat, and a little more
TIMEOUT_SECONDS = 300.0
_APPLIED = re.compile(r"^customers_projection_batch_events_sum\{.*\} (\S+)$", re.MULTILINE)


class Look(NamedTuple):
    """How far work had come at a time: up to `lowest` for certain, by `mean` for the count."""

    time: float
    lowest: float
    mean: float


class Done(NamedTuple):
    """Events, and the time they took."""

    events: float
    seconds: float

    @property
    def per_second(self) -> float:
        return self.events / self.seconds


async def measure_pipeline(
    service: Service, backlog: Backlog, tell: Callable[[str], None]
) -> list[Figure]:
    """Four backlogs: of creations and of changes, for one worker and for two."""
    figures: list[Figure] = []
    relayed: list[Done] = []
    async with Postgres.connect(service.database_url, pool_size_max=2) as postgres:
        for workers in (1, 2):
            for grow in (backlog.creations, backlog.changes):
                segment = await grow()
                watching = asyncio.create_task(_published(service, postgres, segment.end))
                async with service.role("relay"):
                    looks = await watching
                    await _marked(service, postgres, segment.end)
                relayed.append(done_in(looks, segment.start, segment.end))
                figures.append(await _projections(service, postgres, segment, workers))
                tell(f"{figures[-1].title}: {figures[-1].value:,.0f} events/s")
    value = sum(each.events for each in relayed) / sum(each.seconds for each in relayed)
    tell(f"relay: {value:,.0f} events/s")
    return [Figure("relay", "relay, log to Kafka", value, "events/s", target=RELAY), *figures]


async def _published(service: Service, postgres: Postgres, end: int) -> list[Look]:
    topic = KafkaConfig(service.bootstrap_servers).events_topic.name

    async def look() -> Look:
        position = await postgres.fetch_one(int, SQL["published"], topic) or 0
        return Look(monotonic(), position, position)

    return await watch(look, end)


async def _projections(
    service: Service, postgres: Postgres, segment: Segment, workers: int
) -> Figure:
    async def look() -> Look:
        found = await postgres.fetch_one(_pair, SQL["shown"])
        assert found is not None
        return Look(monotonic(), *found)

    async with AsyncExitStack() as stack:
        watching = asyncio.create_task(watch(look, segment.end))
        stack.callback(watching.cancel)
        async with _held_back(postgres) if workers > 1 else nullcontext():
            running = await asyncio.gather(
                *(stack.enter_async_context(service.role("projections")) for _ in range(workers))
            )
        since = await all_at_work(running, watching, _APPLIED) if workers > 1 else 0.0
        looks = await watching
    done = done_in([each for each in looks if each.time >= since], segment.start, segment.end)
    ones = "one worker" if workers == 1 else f"{workers} workers"
    is_creating = segment.name == "creations"
    return Figure(
        f"projection_{'creations' if is_creating else 'changes'}_{workers}",
        f"projection, {segment.name}, {ones}",
        done.per_second,
        "events/s",
        target=CREATIONS_PROJECTED if is_creating else CHANGES_PROJECTED,
    )


@asynccontextmanager
async def _held_back(postgres: Postgres) -> AsyncIterator[None]:
    """No checkpoint moves in the block, nor until workers that started in it share the partitions.

    A worker gives partitions up at its next heartbeat only: without this, the first one to start
    would have done much of the work by then.
    """
    async with postgres.transaction() as transaction:
        await transaction.fetch(int, SQL["hold_checkpoints"])
        yield
        await asyncio.sleep(JOINING_SECONDS)


def done_in(looks: Sequence[Look], start: int, end: int) -> Done:
    """What was done from `start`, or the first look behind it, to `end`, and how long it took."""
    moving = next((each for each in looks if each.mean > start), None)
    done = next((each for each in looks if each.lowest >= end), None)
    if moving is None or done is None or done.time <= moving.time:
        raise LoadFailed("the work was done before it could be watched: give it more")
    return Done(end - moving.mean, done.time - moving.time)


async def _marked(service: Service, postgres: Postgres, end: int) -> None:
    """Wait until every partition tells that all is published: only then can workers know it."""
    topic = KafkaConfig(service.bootstrap_servers).events_topic.name

    async def look() -> Look:
        position = await postgres.fetch_one(int, SQL["marked"], topic) or 0
        return Look(monotonic(), position, position)

    await watch(look, end)


async def watch(look: Callable[[], Awaitable[Look]], end: int) -> list[Look]:
    """Look until all is done. Raises LoadFailed where it never is."""
    looks: list[Look] = []
    deadline = monotonic() + TIMEOUT_SECONDS
    while not looks or looks[-1].lowest < end:
        if monotonic() > deadline:
            raise LoadFailed(f"position {end} was not reached in {TIMEOUT_SECONDS:.0f} s")
        looks.append(await look())
        await asyncio.sleep(LOOK_SECONDS)
    return looks


async def all_at_work(
    running: Sequence[Running], watching: asyncio.Task[list[Look]], counted: re.Pattern[str]
) -> float:
    """When each had done something, by the metric `counted`: before that, some were starting."""
    async with aiohttp.ClientSession() as session:
        for each in running:
            while not watching.done():
                async with session.get(f"{each.url}/metrics") as answer:
                    applied = counted.search(await answer.text())
                if applied is not None and float(applied[1]) > 0:
                    break
                await asyncio.sleep(LOOK_SECONDS)
    return monotonic()


def _pair(lowest: int, mean: float) -> tuple[int, float]:
    return lowest, mean
