"""Backups of a database, as an operator makes them, and the way back.

By pg_dump and pg_restore where they are found and not older than the server; else the database is
copied as a whole, which only a database that nobody uses allows.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg

from tests.servers.databases import with_database

TIMEOUT_SECONDS = 60.0
TOOLS = Path("/usr/lib/postgresql")  # where Debian has a folder for each version


@dataclass(frozen=True)
class Backup:
    """Of one database. Invariant: nobody is connected to it when it is made, or brought back."""

    url: str
    kept: str  # name of the copy, or of the file of pg_dump
    tools: Path | None

    @property
    def name(self) -> str:
        return urlsplit(self.url).path.removeprefix("/")

    async def make(self) -> None:
        if self.tools is None:
            await self._server(f'CREATE DATABASE "{self.kept}" TEMPLATE "{self.name}"')
        else:
            await self._tool("pg_dump", "-Fc", "-f", self.kept, "-d", self.url)

    async def restore(self) -> None:
        """As it was, under the same name; what was written since is gone."""
        await self._server(f'DROP DATABASE "{self.name}" WITH (FORCE)')
        source = "template0" if self.tools else self.kept
        await self._server(f'CREATE DATABASE "{self.name}" TEMPLATE "{source}"')
        if self.tools is not None:
            await self._tool("pg_restore", "--exit-on-error", "-d", self.url, self.kept)

    async def forget(self) -> None:
        if self.tools is None:
            await self._server(f'DROP DATABASE IF EXISTS "{self.kept}" WITH (FORCE)')

    async def _server(self, statement: str) -> None:
        await _execute(with_database(self.url, "postgres"), statement)

    async def _tool(self, tool: str, *arguments: str) -> None:
        assert self.tools is not None
        process = await asyncio.create_subprocess_exec(
            self.tools / tool, *arguments, stderr=asyncio.subprocess.PIPE
        )
        async with asyncio.timeout(TIMEOUT_SECONDS):
            _, said = await process.communicate()
        assert process.returncode == 0, said.decode()


@asynccontextmanager
async def a_backup(database_url: str, folder: Path) -> AsyncIterator[Backup]:
    """One that is still to be made."""
    tools = await asyncio.to_thread(_tools, await _major(database_url))
    kept = str(folder / "backup.dump") if tools else f"backup_{uuid4().hex[:12]}"
    backup = Backup(database_url, kept, tools)
    try:
        yield backup
    finally:
        await backup.forget()


def _tools(major: int) -> Path | None:
    """pg_dump refuses a server that is younger than itself is."""
    found = shutil.which("pg_dump")
    offered = {int(each.parent.name): each for each in TOOLS.glob("[0-9]*/bin")}
    fitting = [number for number in offered if number >= major]
    if fitting and found is not None:
        return offered[min(fitting)]
    return None


async def _major(database_url: str) -> int:
    connection = await asyncpg.connect(database_url, timeout=TIMEOUT_SECONDS)
    try:
        return connection.get_server_version().major
    finally:
        await connection.close()


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url, timeout=TIMEOUT_SECONDS)
    try:
        await connection.execute(statement, timeout=TIMEOUT_SECONDS)
    finally:
        await connection.close()
