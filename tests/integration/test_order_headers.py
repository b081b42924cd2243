"""Orders in records whose headers have names that are no text: put aside, and nothing stands still.

Invariant: a real broker lets such records in; they are sent as any client could send them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

import orjson
import pytest

from service.event_log import EventLog
from service.order_intake import redrive, waiting_orders
from tests.servers.server import Handle
from tests.support.batches import CODECS, Named, send_in_one_batch
from tests.support.orders import Shop, add_tenant, an_order, running
from tests.support.relays import a_world

NAME = b"n\xffm\xe9 \xe2\x82\xac"  # the euro sign is UTF-8, the rest is not
BESIDE = 20  # orders in the same batch


@pytest.fixture
async def shop(database: str, kafka_server: Handle, topic_suffix: str) -> AsyncIterator[Shop]:
    async with a_world(database, kafka_server, topic_suffix) as world:
        await add_tenant(world.postgres, "default")
        yield Shop(world)


def named(order_id: str, customer_id: str, *headers: tuple[bytes, bytes]) -> Named:
    value = orjson.dumps(an_order(order_id, 1, customer_id))
    return Named(order_id.encode(), value, headers)


async def publish(
    shop: Shop, orders: Sequence[Named], *, partition: int = 0, compression: str = "none"
) -> None:
    servers, topic = shop.config.bootstrap_servers, shop.config.orders_topic.name
    await send_in_one_batch(servers, topic, orders, partition=partition, compression=compression)


@pytest.mark.parametrize("compression", CODECS)
async def test_such_an_order_is_put_aside_and_those_beside_it_are_taken_in(
    shop: Shop, compression: str
) -> None:
    (jane,) = await shop.customers(1)
    bad = named("bad", jane, (b"a", b"1"), (NAME, b"\x00\xff"), (b"a", b"2"))
    orders = [named(f"a{number}", jane) for number in range(BESIDE)]
    await publish(shop, [*orders[:7], bad, *orders[7:]], compression=compression)
    await publish(shop, [named("b", jane)], partition=1)
    epoch = (await EventLog(shop.postgres).head()).epoch
    waiting = await waiting_orders(shop.config, epoch, datetime.now(UTC))
    assert waiting.lag_messages == BESIDE + 2
    async with running(shop.intake(batch_messages_max=5)):
        await shop.takes_in(recorded=BESIDE + 1, invalid_message=1)

        (letter,) = await shop.dead_letters()
        assert (letter.key, letter.value) == (bad.key, bad.value)
        told = {name: value for name, value in letter.headers if name.startswith("dlq_")}
        assert list(letter.headers)[:3] == [
            ("a", b"1"), ("dlq_header_n\\xffm\\xe9 €", b"\x00\xff"), ("a", b"2")
        ]  # fmt: skip
        assert told["dlq_reason"] == b"invalid_message"
        assert told["dlq_detail"] == b"headers: a name that is not UTF-8"
        assert (told["dlq_partition"], told["dlq_offset"]) == (b"0", b"7")

        assert await redrive(shop.config) == (1, 1)  # without that header it is an order
        await shop.takes_in(recorded=BESIDE + 2)
    assert shop.observed.failures == []
    assert shop.observed.letters.total() == 1


async def test_one_that_is_too_large_to_be_put_aside_holds_nothing_up(shop: Shop) -> None:
    """Its name alone is let in, and as text it is four times as long."""
    (jane,) = await shop.customers(1)
    orders = [named("bad", jane, (b"\xff" * 600_000, b"")), named("a", jane)]
    await publish(shop, orders)
    async with running(shop.intake()):
        await shop.takes_in(recorded=1, invalid_message=1)
        (letter,) = await shop.dead_letters()
        assert (letter.key, letter.value) == (None, None)
        assert "dlq_left_out" in dict(letter.headers)
        assert await redrive(shop.config) == (1, 0)
