"""The servers and databases that tests ask for by name. They start when the first test asks.

`-m "not real_kafka"` or a folder of unit tests therefore starts nothing.
"""

import uuid
from collections.abc import AsyncIterator
from typing import Protocol

import pytest

import tests.support.searching  # noqa: F401 - hypothesis is told how to search
from tests.servers.apache_kafka import kafka_version
from tests.servers.choice import Source, Surroundings, look_around, order_kafka, order_postgres
from tests.servers.databases import Databases
from tests.servers.kafka import start_kafka
from tests.servers.postgres import LocalPostgres, start_postgres
from tests.servers.server import Controllable, Handle, Server, Wipeable

HERE = pytest.StashKey[Surroundings]()
SERVED = pytest.StashKey[list[Server]]()
SERVED_ELSEWHERE = pytest.StashKey[set[str]]()  # kinds; by the processes of pytest-xdist
SERVED_KINDS = "served_kinds"


class Worker(Protocol):
    """One of pytest-xdist's processes, as the process that started it sees it."""

    config: pytest.Config


def pytest_configure(config: pytest.Config) -> None:
    config.stash[HERE] = look_around()
    config.stash[SERVED] = []
    config.stash[SERVED_ELSEWHERE] = set()


def pytest_report_header(config: pytest.Config) -> list[str]:
    """What will be tried first; the summary says what has served."""
    postgres = next(iter(order_postgres(config.stash[HERE])), None)
    kafka = next(iter(order_kafka(config.stash[HERE])), None)
    kinds = {
        None: "none: no Docker answers, and mvn or Java 17 are missing",
        Source.GIVEN: "the one given in CUSTOMERS_TEST_KAFKA_BOOTSTRAP_SERVERS",
        Source.DOCKER: "Apache Kafka in Docker",
        Source.MAVEN: f"Apache Kafka {kafka_version()} from {Source.MAVEN}",
        Source.EMBEDDED: "stand-in broker, embedded (no transactions)",
    }
    where = "none" if postgres is None else postgres.value
    return [f"postgres: PostgreSQL {where}", f"kafka: {kinds[kafka]}"]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where a real Kafka is required, nothing may be left out."""
    if isinstance(told := getattr(session.config, "workeroutput", None), dict):
        told[SERVED_KINDS] = [server.kind for server in session.config.stash[SERVED]]
    if _skipped(session.config) and session.config.stash[HERE].require_kafka:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    kinds = {server.kind for server in config.stash[SERVED]} | config.stash[SERVED_ELSEWHERE]
    for kind in sorted(kinds):
        terminalreporter.write_line(f"served by: {kind}")
    skipped = _skipped(config)
    if skipped and config.stash[HERE].require_kafka:
        text = f"FAILED: {skipped} skipped, and CUSTOMERS_TEST_REQUIRE_KAFKA=1 allows none"
        terminalreporter.write_line(text, red=True)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Worker) -> None:
    """A process of pytest-xdist has ended: what served its tests."""
    node.config.stash[SERVED_ELSEWHERE] |= set(
        getattr(node, "workeroutput", {}).get(SERVED_KINDS, ())
    )


def _skipped(config: pytest.Config) -> int:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    return len(reporter.stats.get("skipped", [])) if reporter is not None else 0


@pytest.fixture(scope="session")
async def postgres_server(pytestconfig: pytest.Config) -> AsyncIterator[Handle]:
    here = pytestconfig.stash[HERE]
    handle = await start_postgres(here, order_postgres(here))
    pytestconfig.stash[SERVED].append(handle.server)
    yield handle
    await handle.stop()


@pytest.fixture(scope="session")
async def kafka_server(pytestconfig: pytest.Config) -> AsyncIterator[Handle]:
    here = pytestconfig.stash[HERE]
    handle = await start_kafka(here, order_kafka(here))
    pytestconfig.stash[SERVED].append(handle.server)
    yield handle
    await handle.stop()


@pytest.fixture(scope="session")
async def breakable_kafka(
    kafka_server: Handle, pytestconfig: pytest.Config
) -> AsyncIterator[Wipeable]:
    """A Kafka that a test may kill, restart and wipe: the session's, or else a local one beside it.

    A test that leaves it down must restart it. `wipe` loses only what tests have ended with.
    """
    if isinstance(kafka_server, Wipeable):
        yield kafka_server
        return
    order = [Source.MAVEN, Source.EMBEDDED]
    here = pytestconfig.stash[HERE]
    offered = Surroundings(
        require_kafka=here.require_kafka,
        maven=here.maven,
        java_major=here.java_major,
        embedded_broker=here.embedded_broker,
    )
    local = await start_kafka(
        offered, [source for source in order_kafka(offered) if source in order]
    )
    assert isinstance(local, Wipeable)
    yield local
    await local.stop()


@pytest.fixture(scope="session")
async def breakable_postgres(postgres_server: Handle) -> AsyncIterator[Controllable]:
    """A PostgreSQL that a test may kill and restart: the session's, or else an embedded one."""
    if isinstance(postgres_server, Controllable):
        yield postgres_server
        return
    local = LocalPostgres()
    await local.start()
    yield local
    await local.stop()


@pytest.fixture(scope="session")
async def databases(postgres_server: Handle) -> AsyncIterator[Databases]:
    from service.migrations import migrate

    async with Databases(postgres_server.server.address, migrate) as made:
        yield made


@pytest.fixture
async def database(databases: Databases) -> AsyncIterator[str]:
    """The URL of a migrated database of the test's own."""
    url = await databases.create()
    yield url
    await databases.drop(url)


@pytest.fixture
def kafka(kafka_server: Handle) -> str:
    """The bootstrap servers. Topics outlive a test: name them with `topic_suffix`."""
    return kafka_server.server.address


@pytest.fixture
def topic_suffix() -> str:
    """Makes names of topics, groups and transactional ids the test's own."""
    return uuid.uuid4().hex[:12]


@pytest.fixture(autouse=True)
def _only_on_real_kafka(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("real_kafka") is None:
        return
    server = request.getfixturevalue("kafka_server").server
    if not server.real_kafka:
        pytest.skip(f"needs a real Kafka (transactions, compaction), served by: {server.kind}")
