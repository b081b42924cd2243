"""A PostgreSQL for the tests."""

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import asyncpg

from service.embedded import EmbeddedError, EmbeddedPostgres
from service.embedded.child_process import free_port
from tests.servers import pausing
from tests.servers.choice import Source, Surroundings
from tests.servers.server import (
    ContainerServer,
    GivenServer,
    Handle,
    Server,
    ServerUnavailable,
    first_line,
)

DEFAULT_IMAGE: Final = "postgres:17-alpine"
CONNECT_TIMEOUT_SECONDS: Final = 10.0
CONNECTIONS_MAX: Final = 200
# A test's server may lose everything with the machine, never with a process; a database per test
# costs 0.05 s so, and 0.3 s with fsync.
SETTINGS: Final = {"fsync": "off", "max_connections": str(CONNECTIONS_MAX)}


class LocalPostgres:
    """The embedded PostgreSQL, in a temporary folder that ends with it."""

    def __init__(self, settings: Mapping[str, str] = SETTINGS) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="customers-test-postgres-"))
        self._postgres = EmbeddedPostgres(self._directory, settings=settings)
        self._server: Server | None = None

    @property
    def server(self) -> Server:
        assert self._server is not None, "not started"
        return self._server

    async def start(self) -> None:
        address = await self._postgres.start()
        self._server = self._server or await _describe(address, Source.EMBEDDED)

    async def stop(self) -> None:
        await self._postgres.stop()
        shutil.rmtree(self._directory, ignore_errors=True)

    @property
    def process_id(self) -> int:
        return self._postgres.process_id

    async def kill(self) -> None:
        os.kill(self._postgres.process_id, signal.SIGKILL)
        await self._postgres.stop()

    async def restart(self) -> None:
        await self._postgres.stop()
        await self._postgres.start()

    def pause(self) -> None:
        pausing.pause(self._postgres.process_id)

    def wake(self) -> None:
        pausing.wake(self._postgres.process_id)


async def start_postgres(here: Surroundings, order: Sequence[Source]) -> Handle:
    """The first of `order` that can serve; ServerUnavailable says why none can."""
    reasons = [] if order else ["the extra `embedded` is not installed and no Docker answers"]
    for source in order:
        try:
            return await _start(source, here)
        except ServerUnavailable as error:
            reasons.append(str(error))
    raise ServerUnavailable(f"no PostgreSQL for the tests: {'; '.join(reasons)}")


async def _start(source: Source, here: Surroundings) -> Handle:
    if source is Source.GIVEN:
        return GivenServer(await _describe(here.database_url, source))
    if source is Source.DOCKER:
        return await _start_container(os.environ.get("POSTGRES_IMAGE", DEFAULT_IMAGE))
    local = LocalPostgres()
    try:
        await local.start()
    except EmbeddedError as error:
        await local.stop()
        raise ServerUnavailable(str(error)) from error
    return local


async def _start_container(image: str) -> ContainerServer:
    from docker.errors import DockerException
    from testcontainers.community.postgres import PostgresContainer

    options = [word for name, value in SETTINGS.items() for word in ("-c", f"{name}={value}")]
    try:
        container = PostgresContainer(
            image, username="postgres", password="postgres", dbname="postgres", driver=None
        )
    except DockerException as error:
        raise ServerUnavailable(f"Docker cannot serve {image} ({first_line(error)})") from error
    container.with_command(["postgres", *options]).with_bind_ports(5432, free_port())
    try:
        await asyncio.to_thread(container.start)
        address = container.get_connection_url()
        return ContainerServer(await _describe(address, Source.DOCKER), container.stop)
    except (DockerException, TimeoutError, RuntimeError) as error:
        container.stop()
        raise ServerUnavailable(f"Docker cannot serve {image} ({first_line(error)})") from error


async def _describe(address: str, source: Source) -> Server:
    try:
        connection = await asyncpg.connect(address, timeout=CONNECT_TIMEOUT_SECONDS)
    except (OSError, asyncpg.PostgresError, TimeoutError) as error:
        raise ServerUnavailable(f"no PostgreSQL answers ({first_line(error)})") from error
    try:
        version = str(await connection.fetchval("SHOW server_version"))
    finally:
        await connection.close()
    return Server(address, f"PostgreSQL {version.split(maxsplit=1)[0]} {source}")
