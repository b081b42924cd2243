"""Order messages per second from the topic to the log, with a backlog.

Invariant: every message is a version of an order that nobody has recorded yet, and nothing else
writes meanwhile, so the log's position counts what was recorded. Starting up is not counted: the
processes wait for the messages, and record nothing before the last of these is in the topic.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from time import monotonic, time

import orjson

from benchmarks.figures import INTAKE, Figure
from benchmarks.pipeline import JOINING_SECONDS, Look, all_at_work, done_in, watch
from benchmarks.processes import Service
from benchmarks.seeding import SQL, Head, Seeded
from service.kafka import KafkaConfig, Producer, Record
from service.postgres import Postgres

MESSAGES_AT_ONCE = 5_000
_TAKEN_IN = re.compile(r"^customers_intake_batch_messages_sum (\S+)$", re.MULTILINE)


async def measure_intake(
    service: Service, seeded: Seeded, messages: int, tell: Callable[[str], None]
) -> list[Figure]:
    """A backlog of `messages` for one process, and another for two."""
    figures: list[Figure] = []
    async with Postgres.connect(service.database_url, pool_size_max=2) as postgres:
        for processes in (1, 2):
            figures.append(await _taken_in(service, postgres, seeded.ids, messages, processes))
            tell(f"{figures[-1].title}: {figures[-1].value:,.0f} messages/s")
    return figures


async def _publish(service: Service, customers: Sequence[str], messages: int) -> None:
    config = KafkaConfig(service.bootstrap_servers, idempotence=service.has_real_kafka)
    run = secrets.token_hex(4)
    async with Producer.connect(config) as producer:
        for first in range(0, messages, MESSAGES_AT_ONCE):
            numbers = range(first, min(first + MESSAGES_AT_ONCE, messages))
            await producer.send_keyed(
                config.orders_topic.name, list(_orders(run, customers, numbers))
            )


def _orders(run: str, customers: Sequence[str], numbers: Sequence[int]) -> Iterator[Record]:
    """Orders that are placed, and then paid, of customers by turns."""
    for number in numbers:
        order, version = divmod(number, 2)
        order_id = f"ord_{run}_{order}"
        value = {
            "orderId": order_id,
            "orderVersion": version + 1,
            "customerId": customers[order % len(customers)],
            "status": "paid" if version else "placed",
            "currency": "USD",
            "total": 500 + (number * 7_919) % 30_000,
            "placedAt": "2026-01-01T00:00:00Z",
        }
        yield Record(order_id.encode(), orjson.dumps(value), [], int(time() * 1_000))


async def _taken_in(
    service: Service, postgres: Postgres, customers: Sequence[str], messages: int, processes: int
) -> Figure:
    start = await _position(postgres)

    async def look() -> Look:
        position = await _position(postgres)
        return Look(monotonic(), position, position)

    async with AsyncExitStack() as stack:
        running = await asyncio.gather(
            *(stack.enter_async_context(service.role("intake")) for _ in range(processes))
        )
        await asyncio.sleep(JOINING_SECONDS)  # until they share the partitions
        async with postgres.transaction() as held:
            await held.fetch(int, SQL["hold_log"])
            await _publish(service, customers, messages)
        watching = asyncio.create_task(watch(look, start + messages))
        stack.callback(watching.cancel)
        since = await all_at_work(running, watching, _TAKEN_IN) if processes > 1 else 0.0
        looks = await watching
    done = done_in([each for each in looks if each.time >= since], start, start + messages)
    ones = "one process" if processes == 1 else f"{processes} processes"
    title = f"order intake, topic to log, {ones}"
    target = INTAKE if processes > 1 else None
    name = f"intake_{processes}"
    return Figure(name, title, done.per_second, "messages/s", target=target)


async def _position(postgres: Postgres) -> int:
    head = await postgres.fetch_one(Head, SQL["head"])
    assert head is not None
    return head.position
