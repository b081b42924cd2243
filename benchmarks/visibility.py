"""How long after a write began the list shows it, while writes come at a steady rate.

Invariant: the rate does not give way (an open loop), and a write's time runs from the moment it was
due, so waiting for a free connection counts. The list shows a position once the lowest checkpoint
has reached it; that is polled in steps of LOOK_SECONDS, and what is seen late is not corrected.
"""

from __future__ import annotations

import asyncio
import secrets
from bisect import bisect_left
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from time import perf_counter
from typing import NamedTuple
from urllib.parse import urlsplit

import orjson

from benchmarks.figures import VISIBLE, Figure
from benchmarks.http_client import Answer, Connections
from benchmarks.processes import Service
from benchmarks.seeding import SQL
from benchmarks.wrk import LoadFailed
from service.postgres import Postgres

WRITES_PER_SECOND = 1_000
WARM_SECONDS = 15.0  # not counted: Kafka compiles its code in them
LOOK_SECONDS = 0.004
TICK_SECONDS = 0.001
LAST_SECONDS = 30.0  # for what is still to be answered and shown at the end
PROBE_EVERY_WRITES = 50  # so often a caller lists with `minPosition`, to see it for himself
_CREATION = (
    '{"email":"%s@example.com","firstName":"Jane","lastName":"Doe","phone":"+1-555-0123",'
    '"tags":["referral"],"metadata":{"source":"partner-campaign"}}'
)


class Write(NamedTuple):
    due: float
    answered: float
    position: int


class Steady:
    """Creates and changes customers by turns, at a rate that does not give way."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._run = secrets.token_hex(6)
        self._created: list[str] = []
        self.writes: list[Write] = []
        self.listed: list[tuple[float, float]] = []  # when a write was due, when a list showed it

    async def run(self, seconds: float) -> None:
        """Raises LoadFailed where the answers do not keep up with the rate."""
        try:
            async with asyncio.TaskGroup() as group:
                await self._begin_writes(int(WRITES_PER_SECOND * seconds), group)
        except* (TimeoutError, ConnectionError):
            text = f"{WRITES_PER_SECOND:,} writes/s are more than is answered here"
            raise LoadFailed(text) from None

    async def _begin_writes(self, total: int, group: asyncio.TaskGroup) -> None:
        started, number = perf_counter(), 0
        while number < total:
            due = started + number / WRITES_PER_SECOND
            if due > perf_counter():
                await asyncio.sleep(TICK_SECONDS)
            else:
                group.create_task(self._write(number, due))
                number += 1

    async def _write(self, number: int, due: float) -> None:
        key = f"{self._run}.{number}"
        if number % 2 == 0 or not self._created:
            answer = await self._connections.call("POST", "/user", (_CREATION % key).encode(), key)
            check(answer, 201)
            self._created.append(orjson.loads(answer.body)["id"])
        else:
            customer_id = self._created[number * 7_919 % len(self._created)]
            body = b'{"phone":"+1-555-%07d"}' % number
            answer = await self._connections.call("PUT", f"/user/{customer_id}", body, key)
            check(answer, 200)
        self.writes.append(Write(due, perf_counter(), answer.position))
        if number % PROBE_EVERY_WRITES == 0:
            path = f"/user?display=1&minPosition={answer.position}"
            listed = await self._connections.call("GET", path)
            check(listed, 200)
            self.listed.append((due, perf_counter()))


def check(answer: Answer, status: int) -> None:
    """Raises LoadFailed for any other status."""
    if answer.status != status:
        raise LoadFailed(f"{answer.status} was answered: {answer.body.decode(errors='replace')}")


async def measure_visibility(
    service: Service, token: str, seconds: float, tell: Callable[[str], None]
) -> list[Figure]:
    """With one process of each role."""
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        for role in ("relay", "projections"):
            await enter(service.role(role))
        api = await enter(service.role("api"))
        postgres = await enter(Postgres.connect(service.database_url, pool_size_max=1))
        parts = urlsplit(api.url)
        connections = Connections(parts.hostname or "", parts.port or 0, token)
        stack.callback(connections.close)
        steady = Steady(connections)
        shown: list[tuple[int, float]] = []
        limit = WARM_SECONDS + seconds + LAST_SECONDS
        async with asyncio.timeout(limit), asyncio.TaskGroup() as group:
            last: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            group.create_task(_watch(postgres, shown, last))
            await steady.run(WARM_SECONDS + seconds)
            last.set_result(max(write.position for write in steady.writes))
    return _figures(steady, shown, seconds, tell)


async def _watch(
    postgres: Postgres, shown: list[tuple[int, float]], last: asyncio.Future[int]
) -> None:
    """Positions that are shown, each with the moment when it was first seen; until the last is."""
    async with postgres.transaction() as held:  # to take a connection from the pool only once
        while not (last.done() and shown and shown[-1][0] >= last.result()):
            for found in await held.fetch(_lowest, SQL["shown"]):
                if not shown or found > shown[-1][0]:
                    shown.append((found, perf_counter()))
            await asyncio.sleep(LOOK_SECONDS)


def _figures(
    steady: Steady, shown: Sequence[tuple[int, float]], seconds: float, tell: Callable[[str], None]
) -> list[Figure]:
    first_due = min(write.due for write in steady.writes) + WARM_SECONDS
    counted = [write for write in steady.writes if write.due >= first_due]
    answered = [(write.answered - write.due) * 1e3 for write in counted]
    visible = [(seen_at(shown, write.position) - write.due) * 1e3 for write in counted]
    listed = [(seen - due) * 1e3 for due, seen in steady.listed if due >= first_due]
    value = len(counted) / seconds
    figures = [
        _figure("write", "write to answer", value, answered),
        _figure("visible", "write to visible in lists", value, visible),
        _figure("listed", "write to listed by a caller", len(listed) / seconds, listed),
    ]
    for figure in figures:
        tell(f"{figure.title}: p50 {figure.p50_ms:.1f} ms, p99 {figure.p99_ms:.1f} ms")
    return figures


def seen_at(shown: Sequence[tuple[int, float]], position: int) -> float:
    """When a position, or one behind it, was first seen."""
    return shown[bisect_left(shown, (position, 0.0))][1]


def _figure(name: str, title: str, value: float, milliseconds: Sequence[float]) -> Figure:
    target = None if name == "write" else VISIBLE
    p50, p99 = percentile(milliseconds, 0.5), percentile(milliseconds, 0.99)
    return Figure(name, title, value, "writes/s", p50_ms=p50, p99_ms=p99, target=target)


def percentile(numbers: Sequence[float], share: float) -> float:
    """The number that so large a share of them lies below."""
    ordered = sorted(numbers)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _lowest(lowest: int, _: float) -> int:
    return lowest
