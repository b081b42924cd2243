"""Installations for whole modules: starting processes takes seconds.

Invariant: a module has a database and topics of its own, on servers that it may break only where
it asked for breakable ones.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import pytest

from service.migrations import migrate
from tests.servers.databases import Databases
from tests.servers.server import Controllable, Handle, Wipeable
from tests.system.installation import Installation, installed


@pytest.fixture(scope="module")
async def installation(
    databases: Databases, kafka_server: Handle, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Installation]:
    """No role runs yet."""
    url = await databases.create()
    folder = tmp_path_factory.mktemp("installation")
    async with installed(folder, url, kafka_server.server, uuid.uuid4().hex[:12]) as made:
        yield made
    await databases.drop(url)


@pytest.fixture(scope="module")
async def breakable_installation(
    breakable_postgres: Controllable,
    breakable_kafka: Wipeable,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Installation]:
    """The same on servers that may be killed; no role runs yet."""
    folder = tmp_path_factory.mktemp("installation")
    async with Databases(breakable_postgres.server.address, migrate) as databases:
        url = await databases.create()
        prefix = uuid.uuid4().hex[:12]
        async with installed(folder, url, breakable_kafka.server, prefix) as made:
            yield made
