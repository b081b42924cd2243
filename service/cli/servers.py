"""The servers of `customers up`: those that the settings name, and children of ours for the rest.

Invariant: a child that dies is started again at the same address, a bounded number of times; all
of them end with the block.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol

import structlog

from service.cli.output import Failed
from service.embedded import EmbeddedBroker, EmbeddedError, EmbeddedPostgres
from service.settings import Settings

LOOK_SECONDS = 0.5
RESTARTS_MAX = 10
HEAVY_MODULES = (
    "service.cli.api",
    "service.cli.relay",
    "service.cli.projections",
    "service.cli.intake",
)


class Child(Protocol):
    """A server in a process of its own."""

    @property
    def process_id(self) -> int: ...

    async def start(self) -> str: ...

    async def stop(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Servers:
    """Where they are. `bootstrap_servers` None: no broker exists for this platform."""

    database_url: str
    bootstrap_servers: str | None
    children: tuple[Child, ...]
    has_embedded_broker: bool

    async def keep_alive(self, stop: asyncio.Event) -> None:
        """Raises Failed where a child does not stay alive."""
        async with asyncio.TaskGroup() as group:
            for child in self.children:
                group.create_task(_keep_alive(child, stop))


@asynccontextmanager
async def servers(settings: Settings) -> AsyncIterator[Servers]:
    """Start what the settings do not name. Raises Failed with the sentence that says why not."""
    async with AsyncExitStack() as stack:
        try:
            started = await _start(settings, stack)
        except* EmbeddedError as errors:
            raise Failed(str(errors.exceptions[0])) from None
        yield started


async def _start(settings: Settings, stack: AsyncExitStack) -> Servers:
    postgres = EmbeddedPostgres(settings.data_directory) if settings.database_url is None else None
    is_broker_wanted = settings.kafka_bootstrap_servers is None
    broker = EmbeddedBroker() if is_broker_wanted and EmbeddedBroker.available() else None
    children = tuple(child for child in (broker, postgres) if child is not None)
    for child in children:
        stack.push_async_callback(child.stop)
    async with asyncio.TaskGroup() as group:
        for child in children:
            group.create_task(child.start())
        # Our own modules are loaded while the servers, which are other processes, come up.
        await asyncio.to_thread(_load, HEAVY_MODULES)
    return Servers(
        settings.require_database_dsn() if postgres is None else postgres.dsn(),
        settings.kafka_bootstrap_servers if broker is None else broker.address,
        children,
        broker is not None,
    )


def _load(modules: tuple[str, ...]) -> None:
    for module in modules:
        import_module(module)


async def _keep_alive(child: Child, stop: asyncio.Event) -> None:
    restarts = 0
    while not stop.is_set():
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_SECONDS):
                await stop.wait()
        if stop.is_set() or not _has_ended(child.process_id):
            continue
        restarts += 1
        if restarts > RESTARTS_MAX:
            raise Failed("An embedded server keeps ending.")
        structlog.get_logger().error("embedded_server_ended", server=type(child).__name__)
        await child.stop()
        try:
            await child.start()
        except EmbeddedError as error:
            raise Failed(str(error)) from error


def _has_ended(process_id: int) -> bool:
    """Whether a child of ours has ended, leaving its exit code to whoever waits for it."""
    try:
        ended = os.waitid(os.P_PID, process_id, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return True
    return ended is not None
