"""A real Apache Kafka on this machine: one node, broker and controller in one, from Maven's jars.

Invariant: its address and its data stay the same from start to stop, whatever a test does to it.
"""

import asyncio
import fcntl
import hashlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from service.embedded.child_process import end, free_port, last_line, run, spawn, until
from tests.servers import pausing
from tests.servers.choice import Source, find_java
from tests.servers.kafka_client import is_ready
from tests.servers.server import Server, ServerUnavailable

POM: Final = Path(__file__).with_name("pom.xml")
CACHE: Final = Path(__file__).parents[2] / ".kafka"
MAVEN_TIMEOUT_SECONDS: Final = 600.0  # 45 MB, on a slow line
FORMAT_TIMEOUT_SECONDS: Final = 60.0
START_TIMEOUT_SECONDS: Final = 60.0
STOP_TIMEOUT_SECONDS: Final = 20.0
CLUSTER_ID: Final = "Y3VzdG9tZXJzLXRlc3RzMA"
JAVA_OPTIONS: Final = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")
# One node, quick to start, and strict: what the service does not create does not exist.
SETTINGS: Final = {
    # A killed broker is let in again when its last session has ended; the default is 9 s.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    "log.cleaner.backoff.ms": "500",  # a test waits for compaction; the default is 15 s
    "auto.create.topics.enable": "false",
    "group.initial.rebalance.delay.ms": "0",
    "min.insync.replicas": "1",
    "default.replication.factor": "1",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
}


def kafka_version() -> str:
    """The version that the pom pins."""
    found = re.search(r"<kafka\.version>(.+)</kafka\.version>", POM.read_text())
    assert found is not None
    return found[1]


class LocalKafka:
    """Kafka in a temporary folder that ends with it. About 350 MB, ready in 3 s.

    `listeners` are further ones, by name with their ports; `settings` say what they speak.
    """

    def __init__(
        self,
        listeners: Mapping[str, int] | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self._listeners, self._settings = dict(listeners or {}), dict(settings or {})
        self._directory = Path(tempfile.mkdtemp(prefix="customers-test-kafka-"))
        self._port, self._controller_port = free_port(), free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def server(self) -> Server:
        kind = f"Apache Kafka {kafka_version()} from {Source.MAVEN}"
        return Server(f"127.0.0.1:{self._port}", kind, real_kafka=True)

    async def start(self) -> None:
        started = False
        try:
            cache = await asyncio.to_thread(_ensure_cache)
            self._prepare(cache)
            await self._launch(cache)
            started = True
        finally:
            if not started:
                await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        await self._end(signal.SIGTERM, signal.SIGKILL)
        shutil.rmtree(self._directory, ignore_errors=True)

    @property
    def process_id(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    async def kill(self) -> None:
        await self._end(signal.SIGKILL)

    async def restart(self) -> None:
        await self._end(signal.SIGTERM, signal.SIGKILL)
        await self.start()

    async def wipe(self) -> None:
        """As if its disk had been lost: no topic, no offset, no transaction is left.

        The data goes from under the running broker, which is killed only then.
        """
        lost = self._directory / "lost"
        (self._directory / "data").rename(lost)
        await self._end(signal.SIGKILL)
        shutil.rmtree(lost)
        await self.start()

    def pause(self) -> None:
        assert self._process is not None, "not started"
        pausing.pause(self._process.pid)

    def wake(self) -> None:
        assert self._process is not None, "not started"
        pausing.wake(self._process.pid)

    def _prepare(self, cache: Path) -> None:
        data = self._directory / "data"
        if not data.exists():
            shutil.copytree(cache / "formatted", data)
        properties = _properties(
            self._port, self._controller_port, data, self._listeners, self._settings
        )
        (self._directory / "server.properties").write_text(properties)

    async def _launch(self, cache: Path) -> None:
        log_file = self._directory / "kafka.log"
        properties = self._directory / "server.properties"
        with log_file.open("wb") as log:
            process = spawn([*_java(cache), "kafka.Kafka", str(properties)], log=log)
        self._process = process
        ready = asyncio.create_task(is_ready(self.server.address, START_TIMEOUT_SECONDS))
        await until(lambda: ready.done() or process.poll() is not None, START_TIMEOUT_SECONDS)
        if not ready.done() or not await ready:
            ready.cancel()
            said = _complaint(log_file.read_text(errors="replace"))
            raise ServerUnavailable(f"Apache Kafka did not start ({said})")

    async def _end(self, *signals: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            await end(process, signals, STOP_TIMEOUT_SECONDS)


def _complaint(said: str) -> str:
    """What went wrong, of a log that may end in the frames of a stack."""
    causes = [line for line in said.splitlines() if "Exception" in line or "Error:" in line]
    return causes[-1].strip() if causes else last_line(said)


def _ensure_cache() -> Path:
    """The jars and a formatted data folder, made once for each pom; sessions may race."""
    cache = CACHE / hashlib.sha256(POM.read_bytes()).hexdigest()[:16]
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # Maven's own repository bears no two that fetch
        if not cache.exists():
            _make_cache(cache)
    return cache


def _make_cache(cache: Path) -> None:
    new = Path(tempfile.mkdtemp(dir=CACHE, prefix="new-"))
    try:
        _fetch_jars(new / "jars")
        _format(new)
        new.rename(cache)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _fetch_jars(folder: Path) -> None:
    command = ["mvn", "-B", "-q", "-f", str(POM), "dependency:copy-dependencies"]
    options = ["-DincludeScope=runtime", f"-DoutputDirectory={folder}"]
    try:
        subprocess.run(
            [*command, *options],
            env={**os.environ, "MAVEN_OPTS": f"-Xmx512m {os.environ.get('MAVEN_OPTS', '')}"},
            capture_output=True,
            text=True,
            timeout=MAVEN_TIMEOUT_SECONDS,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        errors = [line for line in error.stdout.splitlines() if line.startswith("[ERROR]")]
        said = errors[0] if errors else last_line(error.stdout)
        raise ServerUnavailable(f"Maven could not fetch Kafka's jars ({said})") from error
    except subprocess.TimeoutExpired as error:
        raise ServerUnavailable("Maven did not fetch Kafka's jars in time") from error


def _format(cache: Path) -> None:
    properties = cache / "format.properties"
    properties.write_text(_properties(9092, 9093, cache / "formatted"))
    tool = ["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(properties)]
    try:
        run([*_java(cache), *tool], timeout_seconds=FORMAT_TIMEOUT_SECONDS)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        said = last_line(str(error.stderr or b"", errors="replace"))
        raise ServerUnavailable(f"Kafka's storage could not be formatted ({said})") from error


def _java(cache: Path) -> list[str]:
    java = find_java()
    assert java is not None, "chosen without Java"
    return [java, *JAVA_OPTIONS, "-cp", f"{cache / 'jars'}/*"]


def _properties(
    port: int,
    controller_port: int,
    data: Path,
    listeners: Mapping[str, int] | None = None,
    more: Mapping[str, str] | None = None,
) -> str:
    """Further listeners are reached by the machine's name, which a certificate can hold."""
    named = "".join(f",{name}://localhost:{port}" for name, port in (listeners or {}).items())
    settings = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "listeners": (
            f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}{named}"
        ),
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}{named}",
        "controller.listener.names": "CONTROLLER",
        "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": str(data),
        **SETTINGS,
        **(more or {}),
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())
