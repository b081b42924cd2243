"""What a chaos happens to: servers of its own, roles in pairs, customers that are there before.

Invariant: the servers are nobody else's, since they are killed; they end with the block.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from tests.chaos.load import Prepared, Size
from tests.servers.choice import Source, Surroundings, look_around, order_kafka
from tests.servers.kafka import start_kafka
from tests.servers.postgres import CONNECTIONS_MAX, LocalPostgres
from tests.servers.server import Wipeable
from tests.system.installation import Installation, installed

TOPIC_PREFIX = "chaos"
CREATED_AT_ONCE = 16
ROLES = ("api", "api", "relay", "relay", "projections", "projections", "intake", "intake")
# The stand-in loses its groups with their members.
ROLES_ON_STAND_IN = ("api", "api", "relay", "relay", "projections", "intake")
# A postmaster's death must lose nothing, a machine's is not tried: fsync as in production.
POSTGRES_SETTINGS = {
    "max_connections": str(CONNECTIONS_MAX),
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
}


@dataclass(frozen=True, slots=True)
class World:
    """No role runs yet."""

    postgres: LocalPostgres
    kafka: Wipeable
    system: Installation
    delivery: str

    @property
    def has_real_kafka(self) -> bool:
        return self.kafka.server.real_kafka

    @property
    def roles(self) -> tuple[str, ...]:
        return ROLES if self.has_real_kafka else ROLES_ON_STAND_IN


@asynccontextmanager
async def world(delivery: str) -> AsyncIterator[World]:
    """`delivery` of the relay; empty takes the best that the broker can."""
    folder = Path(tempfile.mkdtemp(prefix="customers-chaos-"))
    postgres = LocalPostgres(POSTGRES_SETTINGS)
    kafka = await _start_kafka()
    real_kafka = kafka.server.real_kafka
    delivery = delivery or ("exactly-once" if real_kafka else "at-least-once")
    try:
        await postgres.start()
        async with installed(
            *(folder, postgres.server.address, kafka.server, TOPIC_PREFIX), KAFKA_DELIVERY=delivery
        ) as system:
            yield World(postgres, kafka, system, delivery)
    finally:
        await kafka.stop()
        await postgres.stop()
        shutil.rmtree(folder, ignore_errors=True)


async def _start_kafka() -> Wipeable:
    here = look_around()
    offered = Surroundings(
        require_kafka=here.require_kafka,
        maven=here.maven,
        java_major=here.java_major,
        embedded_broker=here.embedded_broker,
    )
    order = [each for each in order_kafka(offered) if each is not Source.DOCKER]
    kafka = await start_kafka(offered, order)
    assert isinstance(kafka, Wipeable)
    return kafka


async def prepare(system: Installation, urls: list[str], size: Size) -> Prepared:
    """Customers that there are before the first fault."""
    slots = asyncio.Semaphore(CREATED_AT_ONCE)
    request_ids: set[str] = set()

    async def create(number: int) -> str:
        request_id = uuid4().hex
        request_ids.add(request_id)
        headers = {**system.headers, "X-Request-Id": request_id}
        body = {"email": f"{uuid4().hex}@example.com"}
        url = f"{urls[number % len(urls)]}/user"
        async with slots, system.session.post(url, json=body, headers=headers) as answer:
            assert answer.status == 201, await answer.text()
            return str((await answer.json())["id"])

    made = await asyncio.gather(*(create(number) for number in range(size.customers + size.shared)))
    return Prepared(made[size.shared :], made[: size.shared], request_ids)
