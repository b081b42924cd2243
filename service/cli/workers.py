"""Several API processes behind one port: starts them, starts a dead one again, ends them together.

Invariants: the port is held, though never listened on, by this process, so no stranger can slip in
while workers come and go; a worker ends when this process does, however it ends, because its
standard input then closes.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress

import structlog

from service.cli.ground import SHARED_METRICS
from service.cli.output import EXIT_WRONG_USE, Failed
from service.errors import ConfigurationError

HEALTHY_SECONDS = 5.0  # a worker that lived so long did not fail at its start
RESTART_PAUSE_SECONDS = 1.0
START_FAILURES_MAX = 5  # in a row, over all workers
WORKER_SHARE = 0.75  # of the shutdown limit: workers end before we lose patience

WORKER_COMMAND = ("-m", "service", "api-worker")


def hold_port(host: str, port: int) -> socket.socket:
    """A port that our workers can share; 0 takes a free one. Raises ConfigurationError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            # Without SO_REUSEPORT, so that another program of ours on this port is noticed.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            port = probe.getsockname()[1]
        held = socket.socket(family, socket.SOCK_STREAM)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind((host, port))
    except OSError as error:
        reason = error.strerror or "the address cannot be used"
        raise ConfigurationError(f"Cannot listen on {host}:{port}: {reason}.") from error
    return held


class Workers:
    """`count` workers, kept alive until stopped."""

    def __init__(self, count: int, environment: Mapping[str, str]) -> None:
        self._count = count
        self._environment = environment
        self._start_failures = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Raises Failed where workers do not stay alive, ConfigurationError where none can."""
        async with asyncio.TaskGroup() as group:
            for number in range(1, self._count + 1):
                group.create_task(self._keep_alive(number, stop))

    async def _keep_alive(self, number: int, stop: asyncio.Event) -> None:
        log = structlog.get_logger().bind(worker=number)
        while not stop.is_set():
            started = time.monotonic()
            code = await self._run_one(stop)
            if stop.is_set():
                return
            if code == EXIT_WRONG_USE:
                raise ConfigurationError("A worker refused its settings; its log line says why.")
            log.error("worker_ended", exit_code=code)
            lived = time.monotonic() - started >= HEALTHY_SECONDS
            self._start_failures = 0 if lived else self._start_failures + 1
            if self._start_failures >= START_FAILURES_MAX:
                raise Failed("Workers keep ending right after their start.")
            with suppress(TimeoutError):
                async with asyncio.timeout(RESTART_PAUSE_SECONDS):
                    await stop.wait()

    async def _run_one(self, stop: asyncio.Event) -> int:
        """Run a worker to its end, which is near once `stop` is set; its exit code."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *WORKER_COMMAND,
            stdin=asyncio.subprocess.PIPE,  # never written to: its end is ours
            env=self._environment,
            start_new_session=True,  # a Ctrl-C in the terminal reaches us, and we pass it on once
        )
        ended = asyncio.create_task(process.wait())
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({ended, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not ended.done():
                process.send_signal(signal.SIGTERM)
                await asyncio.wait({ended})
        finally:
            stopped.cancel()
            if not ended.done():
                process.kill()
        return await ended


async def run_workers(
    host: str, port: int, count: int, shutdown_timeout_seconds: float, stop: asyncio.Event
) -> None:
    """Share one port and one set of metrics among `count` workers until stopped."""
    with hold_port(host, port) as held, tempfile.TemporaryDirectory(prefix="customers-") as folder:
        port = held.getsockname()[1]
        structlog.get_logger().info("workers_started", workers=count, host=host, port=port)
        environment = {
            **os.environ,
            "CUSTOMERS_HTTP_PORT": str(port),
            "CUSTOMERS_SHUTDOWN_TIMEOUT_SECONDS": str(shutdown_timeout_seconds * WORKER_SHARE),
            SHARED_METRICS: folder,
        }
        await Workers(count, environment).run(stop)


def stop_with_parent(stop: asyncio.Event) -> None:
    """Set `stop` when the process that started this worker is gone."""
    loop = asyncio.get_running_loop()

    def on_input() -> None:
        if not os.read(sys.stdin.fileno(), 1):
            loop.remove_reader(sys.stdin.fileno())
            stop.set()

    loop.add_reader(sys.stdin.fileno(), on_input)
