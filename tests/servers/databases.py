"""A database per test, copied from one that was built once.

Invariant: names begin with a prefix of this session's own, so sessions share a server in peace.
"""

import uuid
from collections.abc import Awaitable, Callable
from itertools import count
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

import asyncpg

CONNECT_TIMEOUT_SECONDS: Final = 10.0
COMMAND_TIMEOUT_SECONDS: Final = 30.0


class Databases:
    """`build` gets the URL of an empty database and makes the template of it.

    It must have closed its connections when it returns: a database in use cannot be copied.
    """

    def __init__(self, server_url: str, build: Callable[[str], Awaitable[object]]) -> None:
        self._server_url = server_url
        self._build = build
        self._prefix = f"customers_test_{uuid.uuid4().hex[:12]}"
        self._template = f"{self._prefix}_template"
        self._numbers = count(1)
        self._open: set[str] = set()

    async def __aenter__(self) -> Self:
        await self._execute(f'CREATE DATABASE "{self._template}" TEMPLATE template0')
        try:
            await self._build(with_database(self._server_url, self._template))
        except BaseException:
            await self._drop(self._template)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for name in [*self._open, self._template]:
            await self._drop(name)

    async def create(self) -> str:
        """The URL of a fresh copy of the template."""
        name = f"{self._prefix}_{next(self._numbers)}"
        await self._execute(f'CREATE DATABASE "{name}" TEMPLATE "{self._template}"')
        self._open.add(name)
        return with_database(self._server_url, name)

    async def drop(self, url: str) -> None:
        """Drop what `create` answered, whoever is still connected."""
        name = urlsplit(url).path.removeprefix("/")
        await self._drop(name)
        self._open.discard(name)

    async def _drop(self, name: str) -> None:
        await self._execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    async def _execute(self, statement: str) -> None:
        """A connection each, so that a test may restart the server."""
        connection = await asyncpg.connect(self._server_url, timeout=CONNECT_TIMEOUT_SECONDS)
        try:
            await connection.execute(statement, timeout=COMMAND_TIMEOUT_SECONDS)
        finally:
            await connection.close()


def with_database(url: str, name: str) -> str:
    """`url` with another database; its host may be a socket's folder in the query."""
    parts = urlsplit(url)
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.scheme}://{parts.netloc}/{name}{query}"
