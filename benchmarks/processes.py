"""The processes under test: `customers …` by its command line, and the bare handler.

Invariant: each is a process of its own that knows only its settings, and ends with its block; what
one said is in its log, of which the last line is told when it ends by itself.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic

import aiohttp

from service.embedded.child_process import accepts, end, free_port, last_line

ROOT = Path(__file__).parents[1]
PREFIX = "CUSTOMERS_"
COMMAND_TIMEOUT_SECONDS = 3_600.0  # a rebuild of millions
START_TIMEOUT_SECONDS = 60.0
STOP_TIMEOUT_SECONDS = 15.0
POLL_SECONDS = 0.05


class ProcessFailed(Exception):
    """A process under test ended by itself, or did not get ready."""


@dataclass(frozen=True, slots=True)
class Running:
    """A process that serves HTTP at `url`."""

    process: subprocess.Popen[bytes]
    url: str


@dataclass(frozen=True, slots=True)
class Service:
    """Where the service under test keeps its data, and which servers it uses."""

    folder: Path
    database_url: str
    bootstrap_servers: str
    has_real_kafka: bool = True
    delivery: str | None = None  # of the relay; None: the service's own choice

    def beside(self, database_url: str) -> Service:
        """The same in another database."""
        return replace(self, database_url=database_url)

    def command(self, *arguments: str) -> str:
        """Run a command of `customers` to its end; what it printed. Raises ProcessFailed."""
        done = subprocess.run(
            [sys.executable, "-m", "service", *arguments],
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_SECONDS,
            check=False,
            cwd=ROOT,
            env=self._environment(port=0),
        )
        if done.returncode != 0:
            raise ProcessFailed(f"customers {arguments[0]} failed: {last_line(done.stderr)}")
        return done.stdout.strip()

    @asynccontextmanager
    async def role(self, name: str) -> AsyncIterator[Running]:
        """A role, ready, until the block ends."""
        port = free_port()
        environment = self._environment(port)
        command = [sys.executable, "-m", "service", name]
        log = self.folder / f"{name}-{port}.log"
        ready = f"http://127.0.0.1:{port}/readyz"
        async with _running(command, environment, log, port, lambda: _answers(ready)) as running:
            yield running

    def _environment(self, port: int) -> dict[str, str]:
        bare = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        settings = {
            "DATABASE_URL": self.database_url,
            "KAFKA_BOOTSTRAP_SERVERS": self.bootstrap_servers,
            "DATA_DIRECTORY": str(self.folder),
            "HTTP_PORT": str(port),
        }
        if not self.has_real_kafka:  # the stand-in has none
            settings["KAFKA_IDEMPOTENCE"] = "false"
        if self.delivery is not None:
            settings["KAFKA_DELIVERY"] = self.delivery
        return bare | {PREFIX + name: value for name, value in settings.items()}


@asynccontextmanager
async def bare_handler(folder: Path) -> AsyncIterator[Running]:
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.bare_handler", str(port)]

    async def is_ready() -> bool:
        return accepts(port)

    async with _running(command, dict(os.environ), folder / "bare.log", port, is_ready) as running:
        yield running


@asynccontextmanager
async def _running(
    command: list[str],
    environment: dict[str, str],
    log: Path,
    port: int,
    is_ready: Callable[[], Awaitable[bool]],
) -> AsyncIterator[Running]:
    process = _start(command, environment, log)
    try:
        deadline = monotonic() + START_TIMEOUT_SECONDS
        while not await is_ready():
            if process.poll() is not None or monotonic() > deadline:
                raise ProcessFailed(_said(command, log))
            await asyncio.sleep(POLL_SECONDS)
        yield Running(process, f"http://127.0.0.1:{port}")
        if process.poll() is not None:
            raise ProcessFailed(_said(command, log))
    finally:
        await end(process, [signal.SIGTERM, signal.SIGKILL], STOP_TIMEOUT_SECONDS)


def _start(command: list[str], environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as file:
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )


def _said(command: list[str], log: Path) -> str:
    """Which process it was, and what it said last."""
    return f"{' '.join(command[2:])}: {last_line(log.read_text(errors='replace'))}"


async def _answers(url: str) -> bool:
    try:
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False
