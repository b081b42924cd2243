"""The PostgreSQL to measure on: one that is given, else Debian's newest, else the embedded one.

Invariant: fsync is on, so what was committed is on the disk, as in production. The few settings
that differ from the defaults are SETTINGS, and the report names them.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from time import monotonic

import asyncpg

from service.embedded import EmbeddedPostgres
from service.embedded.child_process import end, free_port, last_line, run, spawn
from tests.servers.databases import with_database

DEBIAN = Path("/usr/lib/postgresql")
SERVER_USER = "postgres"  # Debian's; a server never runs as root
SETTINGS = {"shared_buffers": "1GB", "max_wal_size": "4GB"}
DATABASE = "customers_benchmark"
GIVEN = "CUSTOMERS_TEST_DATABASE_URL"
INITDB_TIMEOUT_SECONDS = 60.0
START_TIMEOUT_SECONDS = 60.0
STOP_TIMEOUT_SECONDS = 20.0
POLL_SECONDS = 0.05


class ServerFailed(Exception):
    """A server did not start; the text says why."""


@asynccontextmanager
async def empty_database() -> AsyncIterator[str]:
    """The URL of an empty database, gone with the block."""
    async with _server() as server:
        await _execute(server, f'DROP DATABASE IF EXISTS "{DATABASE}" WITH (FORCE)')
        await _execute(server, f'CREATE DATABASE "{DATABASE}" TEMPLATE template0')
        try:
            yield with_database(server, DATABASE)
        finally:
            await _execute(server, f'DROP DATABASE IF EXISTS "{DATABASE}" WITH (FORCE)')


@asynccontextmanager
async def beside(url: str) -> AsyncIterator[str]:
    """The URL of another empty database on the same server, gone with the block."""
    name = f"{DATABASE}_beside"
    await _execute(url, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
    await _execute(url, f'CREATE DATABASE "{name}" TEMPLATE template0')
    try:
        yield with_database(url, name)
    finally:
        await _execute(url, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


async def describe(url: str) -> str:
    """The server's version, and what matters most of its settings."""
    connection = await asyncpg.connect(url)
    try:
        names = ("server_version", "fsync", "synchronous_commit", *SETTINGS)
        statement = "SELECT current_setting($1)"
        shown = {name: await connection.fetchval(statement, name) for name in names}
    finally:
        await connection.close()
    version = shown.pop("server_version")
    return f"{version} ({', '.join(f'{name} {value}' for name, value in shown.items())})"


def _server() -> AbstractAsyncContextManager[str]:
    given = os.environ.get(GIVEN)
    if given:
        return _given(given)
    found = sorted(DEBIAN.glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    return _debian(found[-1].parent) if found else _embedded()


@asynccontextmanager
async def _given(url: str) -> AsyncIterator[str]:
    yield url


@asynccontextmanager
async def _debian(binaries: Path) -> AsyncIterator[str]:
    user = SERVER_USER if os.geteuid() == 0 else ""
    folder = Path(tempfile.mkdtemp(prefix="customers-benchmark-postgres-"))
    cluster, port = folder / "cluster", free_port()
    if user:
        shutil.chown(folder, user)
    pairs = {**SETTINGS, "listen_addresses": "127.0.0.1", "unix_socket_directories": ""}
    options = [f"--{name}={value}" for name, value in pairs.items()]
    try:
        await asyncio.to_thread(_initdb, binaries, cluster, user)
        with (folder / "log").open("wb") as log:
            command = [str(binaries / "postgres"), "-D", str(cluster), "-p", str(port), *options]
            process = spawn(command, log=log, death_signal=signal.SIGINT, user=user)
        try:
            url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
            await _until_ready(url, process, folder / "log")
            yield url
        finally:
            await end(process, [signal.SIGINT, signal.SIGKILL], STOP_TIMEOUT_SECONDS)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _initdb(binaries: Path, cluster: Path, user: str) -> None:
    options = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8"]
    command = [str(binaries / "initdb"), *options, "-D", str(cluster)]
    try:
        run(command, timeout_seconds=INITDB_TIMEOUT_SECONDS, user=user)
    except subprocess.CalledProcessError as error:
        raise ServerFailed(last_line(str(error.stderr, errors="replace"))) from error


async def _until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = monotonic() + START_TIMEOUT_SECONDS
    while True:
        try:
            await (await asyncpg.connect(url)).close()
        except (OSError, asyncpg.CannotConnectNowError) as error:
            if process.poll() is not None or monotonic() > deadline:
                raise ServerFailed(_said(log)) from error
            await asyncio.sleep(POLL_SECONDS)
        else:
            return


def _said(log: Path) -> str:
    return f"PostgreSQL did not start: {last_line(log.read_text(errors='replace'))}"


@asynccontextmanager
async def _embedded() -> AsyncIterator[str]:
    folder = Path(tempfile.mkdtemp(prefix="customers-benchmark-postgres-"))
    server = EmbeddedPostgres(folder, settings=SETTINGS)
    try:
        yield await server.start()
    finally:
        await server.stop()
        shutil.rmtree(folder, ignore_errors=True)


async def _execute(url: str, statement: str) -> None:
    """A connection each: no transaction may be open around these."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
