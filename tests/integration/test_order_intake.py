"""The intake on a real Kafka and a real PostgreSQL: topic, log, dead letters, what breaks."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from random import Random
from time import monotonic

import asyncpg
import confluent_kafka.admin
import orjson
import pytest

from service.errors import ConfigurationError
from service.event_log import EventLog
from service.events import OrderRecorded
from service.kafka import ConsumedRecord, Producer, Topics
from service.order_intake import Intake, redrive
from service.order_intake.dead_letters import oldest_age_seconds
from service.order_intake.recorder import Recorder
from service.postgres import Postgres
from tests.servers.server import Handle, Wipeable
from tests.support.orders import QUICKLY_SECONDS, Headers, Shop, add_tenant, an_order, running
from tests.support.projections import recorded_events
from tests.support.relays import a_world, is_true
from tests.support.topics import eventually

NOTICED_WITHIN_SECONDS = 10.0  # that a topic is another one, under load; 2 without any


async def a_shop(database: str, kafka: Handle, suffix: str) -> AsyncIterator[Shop]:
    async with a_world(database, kafka, suffix) as world:
        await add_tenant(world.postgres, "default")
        yield Shop(world)


@pytest.fixture
async def shop(database: str, kafka_server: Handle, topic_suffix: str) -> AsyncIterator[Shop]:
    async for made in a_shop(database, kafka_server, topic_suffix):
        yield made


@pytest.fixture
async def breakable(
    database: str, breakable_kafka: Wipeable, topic_suffix: str
) -> AsyncIterator[Shop]:
    async for made in a_shop(database, breakable_kafka, topic_suffix):
        yield made


def names(letter: ConsumedRecord) -> dict[str, str]:
    return {name: value.decode() for name, value in letter.headers if name.startswith("dlq_")}


async def recorded_orders(shop: Shop) -> Counter[tuple[str, int]]:
    """How often each version of each order is in the log."""
    events = await recorded_events(shop.postgres)
    orders = (each.event.order for each in events if isinstance(each.event, OrderRecorded))
    return Counter((order.order_id, order.order_version) for order in orders)


async def test_orders_come_in_from_before_and_while_it_runs(shop: Shop) -> None:
    customers = await shop.customers(3)
    await shop.publish(an_order(f"a{n}", 1, customers[n % 3]) for n in range(300))
    async with running(shop.intake(observe_seconds=QUICKLY_SECONDS)):
        await shop.takes_in(recorded=300)
        await shop.publish([an_order("b", 1, customers[0])])
        assert await shop.takes_in(recorded=301) < 2
        await eventually(lambda: is_true(shop.observed.lag_messages == 0))
    async with running(shop.intake()):  # goes on where the other has ended
        await shop.publish([an_order("c", 1, customers[0])])
        await shop.takes_in(recorded=302)
    assert shop.observed.outcomes == {"recorded": 302}
    assert set((await recorded_orders(shop)).values()) == {1}


async def test_what_cannot_be_taken_in_is_put_aside_byte_for_byte(shop: Shop) -> None:
    (jane, john) = await shop.customers(2)
    async with running(shop.intake()):
        await shop.publish([an_order("reused", 1, jane), an_order("changed", 1, jane)])
        await shop.takes_in(recorded=2)
    headers: Headers = [("a", b"\xff"), ("ce_id", b"e-1"), ("a", b"again")]
    sent: dict[str, tuple[bytes | None, bytes | None, Headers]] = {
        "invalid_message": (b"\x00\xff", b"\xff\xfe no JSON", headers),
        "unknown_tenant": (b"t", orjson.dumps(an_order("t", 1, jane, tenant="x")), []),
        "unknown_customer": (None, orjson.dumps(an_order("c", 1, "cust_nobody")), headers),
        "customer_changed": (b"", orjson.dumps(an_order("changed", 2, john)), headers),
        "version_reused": (b"k", orjson.dumps(an_order("reused", 1, jane, total=7)), []),
    }
    began = datetime.now(UTC)
    await shop.send([*sent.values(), (b"tombstone", None, [])])
    placed = {(each.key, each.value): each for each in await shop.orders()}
    async with running(shop.intake()):
        await shop.takes_in(invalid_message=2, **dict.fromkeys([*sent][1:], 1))

    letters = {names(each)["dlq_reason"]: each for each in await shop.dead_letters() if each.value}
    assert letters.keys() == sent.keys()
    for reason, (key, value, given) in sent.items():
        letter = letters[reason]
        assert (letter.key, letter.value) == (key, value)
        assert list(letter.headers)[: len(given)] == given
        record = placed[key, value]
        added = names(letter)
        assert added["dlq_topic"] == shop.config.orders_topic.name
        assert added["dlq_partition"] == str(record.partition)
        assert added["dlq_offset"] == str(record.offset)
        assert added["dlq_detail"].partition(":")[0] in {
            "value", "tenant", "customerId", "orderVersion"
        }  # fmt: skip
        assert began <= datetime.fromisoformat(added["dlq_time"]) <= datetime.now(UTC)
    (tombstone,) = [each for each in await shop.dead_letters() if each.value is None]
    assert (tombstone.key, names(tombstone)["dlq_detail"]) == (b"tombstone", "value: missing")


@pytest.mark.parametrize("compression", ["gzip", "lz4", "snappy", "zstd"])
async def test_what_is_too_large_to_be_put_aside_holds_nothing_up(
    shop: Shop, compression: str
) -> None:
    """Compressed, it is let in; a dead letter that is not, would not be."""
    (jane,) = await shop.customers(1)
    await shop.send([(b"k", b" " * 3_000_000, [])], compression=compression)
    await shop.publish([an_order("k", 1, jane)])
    async with running(shop.intake()):
        await shop.takes_in(recorded=1, invalid_message=1)
        (letter,) = await shop.dead_letters()
        assert (letter.key, letter.value) == (None, None)
        assert names(letter)["dlq_left_out"] == "3000001"
        assert names(letter)["dlq_offset"] == "0"
        assert await redrive(shop.config) == (1, 0)


async def test_a_compression_that_cannot_be_read_ends_it(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the library that reads it is missing: no waiting would bring it."""
    monkeypatch.setattr("aiokafka.codec.cramjam", None)
    await shop.send([(b"k", b" " * 1_000, [])], compression="lz4")
    with pytest.raises(ConfigurationError, match="lz4"):
        await asyncio.wait_for(shop.intake().run(), 30)
    assert await shop.dead_letters() == []


async def test_dead_letters_are_put_back(shop: Shop) -> None:
    (jane,) = await shop.customers(1)
    await shop.send(
        [
            (
                b"a",
                orjson.dumps(an_order("a", 1, jane, tenant="late", placedAt=...)),
                [("h", b"1")],
            ),
            (b"b", orjson.dumps(an_order("b", 1, "cust_nobody")), []),
            (b"c", b"{}", []),
        ]
    )
    async with running(shop.intake()):
        await shop.takes_in(unknown_tenant=1, unknown_customer=1, invalid_message=1)
        first = {each.key: each for each in await shop.orders()}
        assert await oldest_age_seconds(shop.config, datetime.now(UTC)) > 0

        assert await redrive(shop.config, reason="customer_changed") == (3, 0)
        assert await redrive(shop.config, reason="unknown_customer", key=b"a") == (3, 0)
        assert await redrive(shop.config, key=b"b") == (3, 1)
        await shop.takes_in(unknown_customer=2)
        await add_tenant(shop.postgres, "late")
        assert await redrive(shop.config, reason="unknown_tenant") == (4, 1)
        await shop.takes_in(unknown_customer=3)  # that tenant has no such customer

        assert await redrive(shop.config) == (5, 5)
        await shop.takes_in(unknown_customer=7, invalid_message=2)
        assert (await redrive(shop.config)).read == 5  # only what came since
        await shop.takes_in(unknown_customer=11, invalid_message=3)
    for record in await shop.orders():
        before = first[record.key]
        assert (record.value, record.headers) == (before.value, before.headers)
        assert (record.partition, record.timestamp_ms) == (before.partition, before.timestamp_ms)


async def test_the_age_of_dead_letters_is_that_of_the_oldest_left(shop: Shop) -> None:
    (jane,) = await shop.customers(1)
    now = datetime.now(UTC)
    assert await oldest_age_seconds(shop.config, now) == 0
    async with running(shop.intake()):
        await eventually(lambda: has_observed(shop))
        assert set(shop.observed.ages) == {0.0}
        await shop.publish([an_order("a", 1, jane, tenant="late")])
        await shop.takes_in(unknown_tenant=1)
    later = datetime.fromtimestamp(now.timestamp() + 1_000, UTC)
    assert 900 < await oldest_age_seconds(shop.config, later) <= 1_000
    await redrive(shop.config)
    assert await oldest_age_seconds(shop.config, later) == 0


async def has_observed(shop: Shop) -> bool:
    return bool(shop.observed.ages)


async def test_two_intakes_share_the_partitions(shop: Shop) -> None:
    customers = await shop.customers(5)
    async with running(shop.intake(), shop.intake()):
        for first in range(0, 1_000, 250):
            numbers = range(first, first + 250)
            await shop.publish(an_order(f"o{n}", 1, customers[n % 5]) for n in numbers)
        await eventually(lambda: has_accepted(shop, 1_000), 40)
    assert set((await recorded_orders(shop)).values()) == {1}
    assert await shop.dead_letters() == []


async def has_accepted(shop: Shop, count: int) -> bool:
    return len(await shop.accepted()) == count


@pytest.mark.parametrize("seed", range(2))
async def test_intakes_that_are_cancelled_lose_nothing_and_count_nothing_twice(
    shop: Shop, seed: int
) -> None:
    choose = Random(seed)
    customers = await shop.customers(4)
    orders = [an_order(f"o{n}", 1, choose.choice(customers)) for n in range(600)]
    await shop.publish([*orders, *choose.choices(orders, k=100)])
    await shop.publish([an_order("lost", 1, "cust_nobody")])
    for _ in range(4):
        reached = shop.observed.batches + choose.randrange(1, 4)
        cut = asyncio.create_task(shop.intake(batch_messages_max=25).run())
        await eventually(lambda: has_taken_in(shop, reached))  # noqa: B023
        cut.cancel()
        await asyncio.wait([cut])
    async with running(shop.intake()):
        await eventually(lambda: has_accepted(shop, 600), 40)
        await shop.takes_in(unknown_customer=1)
    assert await recorded_orders(shop) == {(f"o{n}", 1): 1 for n in range(600)}
    assert {each.key for each in await shop.dead_letters()} == {b"lost"}


async def has_taken_in(shop: Shop, batches: int) -> bool:
    return shop.observed.batches >= batches


@pytest.mark.parametrize(("part", "method"), [(Recorder, "record"), (Producer, "send_keyed")])
async def test_offsets_wait_for_the_database_and_the_dead_letters(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, part: type, method: str
) -> None:
    """Cut where the database has committed; or where the dead letters are about to be sent."""
    (jane,) = await shop.customers(1)
    await shop.publish([an_order("a", 1, jane), an_order("lost", 1, "cust_nobody")])
    reached = asyncio.Event()
    work = getattr(part, method)

    async def work_and_die(*arguments: object) -> object:
        if part is Recorder:
            await work(*arguments)
        reached.set()
        return await asyncio.Event().wait()

    monkeypatch.setattr(part, method, work_and_die)
    cut = asyncio.create_task(shop.intake().run())
    await asyncio.wait_for(reached.wait(), 20)
    cut.cancel()
    await asyncio.wait([cut])
    monkeypatch.setattr(part, method, work)
    async with running(shop.intake()):
        await shop.takes_in(unknown_customer=1)
        await eventually(lambda: has_accepted(shop, 1))
    assert await recorded_orders(shop) == {("a", 1): 1}
    assert [each.key for each in await shop.dead_letters()] == [b"lost"]


async def test_a_database_that_drops_its_links_is_waited_for(shop: Shop, database: str) -> None:
    customers = await shop.customers(2)
    killer = await asyncpg.connect(database)
    async with running(shop.intake(batch_messages_max=50)):
        for first in range(0, 500, 100):
            numbers = range(first, first + 100)
            await shop.publish(an_order(f"o{n}", 1, customers[n % 2]) for n in numbers)
            await killer.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )

        async def all_are_in() -> bool:
            return await killer.fetchval("SELECT count(*) FROM log.accepted_order") == 500

        await eventually(all_are_in, 40)
    await killer.close()
    async with Postgres.connect(database) as postgres:
        shop.world.postgres = postgres
        assert set((await recorded_orders(shop)).values()) == {1}


async def test_a_topic_made_anew_is_read_from_its_beginning(shop: Shop) -> None:
    """Even where it holds just as many records as were read of the one before."""
    (jane,) = await shop.customers(1)
    admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": shop.config.bootstrap_servers})
    name = shop.config.orders_topic.name
    async with running(shop.intake()):
        await shop.publish(an_order(f"a{n}", 1, jane) for n in range(60))
        await shop.takes_in(recorded=60)
        (deleted,) = admin.delete_topics([name], operation_timeout=10).values()
        await asyncio.to_thread(deleted.result)
        async with Topics.connect(shop.config) as topics:
            await eventually(lambda: is_gone(topics, name))
            await topics.create_missing([shop.config.orders_topic])
        began = monotonic()
        await shop.publish(an_order(f"b{n}", 1, jane) for n in range(60))
        await shop.takes_in(recorded=120)
        assert monotonic() - began < NOTICED_WITHIN_SECONDS
    assert set((await recorded_orders(shop)).values()) == {1}
    assert set(shop.observed.failures) <= {"broker_unavailable"}


async def is_gone(topics: Topics, name: str) -> bool:
    return await topics.describe(name) is None


async def test_a_broker_that_lost_everything_is_read_anew(
    breakable: Shop, breakable_kafka: Wipeable
) -> None:
    (jane,) = await breakable.customers(1)
    async with running(breakable.intake(creates_topics=True)):
        await breakable.publish([an_order("a", 1, jane)])
        await breakable.takes_in(recorded=1)
        await breakable_kafka.wipe()
        async with Topics.connect(breakable.config) as topics:
            await topics.create_missing(breakable.config.topics)
        await breakable.publish([an_order("a", 1, jane), an_order("b", 1, jane)])
        await breakable.takes_in(recorded=2, repeated=1)


async def test_a_log_that_was_set_back_takes_in_the_whole_topic_again(shop: Shop) -> None:
    (jane,) = await shop.customers(1)
    await shop.publish([an_order("a", 1, jane)])
    async with running(shop.intake()):
        await shop.takes_in(recorded=1)
    await shop.postgres.execute("UPDATE log.head SET epoch = 'another'")
    async with running(shop.intake()):
        await shop.takes_in(repeated=1)


@pytest.mark.real_kafka  # the stand-in lists no groups
async def test_a_group_is_of_one_topic_and_one_log(shop: Shop) -> None:
    """Kafka forgets offsets with their topic, but a late commit can put them back."""
    async with Topics.connect(shop.config) as topics:
        topic = await topics.describe(shop.config.orders_topic.name)
    assert topic is not None
    epoch = (await EventLog(shop.postgres).head()).epoch
    admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": shop.config.bootstrap_servers})
    async with running(intake := shop.intake()):
        await eventually(lambda: is_running(intake))
        group_id = f"{shop.config.topic_prefix}orders-intake-{topic.id}-{epoch}"
        await eventually(lambda: has_group(admin, group_id))


async def has_group(admin: confluent_kafka.admin.AdminClient, group_id: str) -> bool:
    listed = await asyncio.to_thread(admin.list_consumer_groups().result)
    return group_id in {group.group_id for group in listed.valid}


async def test_it_ends_at_once_where_nothing_is_in_hand(shop: Shop) -> None:
    intake: Intake = shop.intake()
    intake.stop()
    await asyncio.wait_for(intake.run(), 5)
    assert intake.status.phase == "stopped"
    async with running(intake := shop.intake()):
        await eventually(lambda: is_running(intake))
        intake.stop()
        intake.stop()


async def is_running(intake: Intake) -> bool:
    return intake.status.phase == "running"
