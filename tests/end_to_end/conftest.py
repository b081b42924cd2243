"""Every test here talks HTTP to a server on a port of its own, over a database of its own."""

from collections.abc import AsyncIterator

import pytest

from tests.servers.databases import Databases
from tests.support.api import Api, running_api


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
