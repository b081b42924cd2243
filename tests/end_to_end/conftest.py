"""Every test here talks HTTP to a server on a port of its own, over a database of its own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.end_to_end.shop import Installation
from tests.servers.databases import Databases
from tests.servers.server import Handle
from tests.support.api import Api, running_api
from tests.support.orders import Shop, add_tenant
from tests.support.relays import a_world


@pytest.fixture
async def api(database: str) -> AsyncIterator[Api]:
    """A caller whose token has every scope in tenant `default`."""
    async with running_api(database) as running:
        yield running


@pytest.fixture(scope="module")
async def shared_api(databases: Databases) -> AsyncIterator[Api]:
    """The same for a whole module: for tests that write nothing, of which there are many."""
    url = await databases.create()
    async with running_api(url) as running:
        yield running
    await databases.drop(url)


@pytest.fixture
async def installed(
    database: str, kafka_server: Handle, topic_suffix: str, tmp_path: Path
) -> AsyncIterator[Installation]:
    """A shop of tenant `default`, with topics of its own."""
    async with a_world(database, kafka_server, topic_suffix) as world:
        await add_tenant(world.postgres, "default")
        yield Installation(Shop(world), tmp_path, world.settings(database))
