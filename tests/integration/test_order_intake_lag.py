"""How many orders wait, where a shop publishes them in transactions."""

from __future__ import annotations

from uuid import uuid4

import confluent_kafka
import orjson
import pytest

from tests.servers.server import Handle
from tests.support.orders import Shop, add_tenant, an_order, running
from tests.support.relays import a_world, is_true
from tests.support.topics import eventually

TIMEOUT_SECONDS = 20.0


@pytest.mark.real_kafka
async def test_markers_of_transactions_are_no_orders_that_wait(
    database: str, kafka_server: Handle, topic_suffix: str
) -> None:
    async with a_world(database, kafka_server, topic_suffix) as world:
        await add_tenant(world.postgres, "default")
        shop = Shop(world)
        (jane,) = await shop.customers(1)
        async with running(shop.intake()):
            for number in range(3):
                _publish_in_a_transaction(shop, an_order(f"a{number}", 1, jane))
            await shop.takes_in(recorded=3)
            await eventually(lambda: is_true(shop.observed.lag_messages == 0))


def _publish_in_a_transaction(shop: Shop, order: dict[str, object]) -> None:
    producer = confluent_kafka.Producer(
        {"bootstrap.servers": shop.config.bootstrap_servers, "transactional.id": uuid4().hex}
    )
    producer.init_transactions(TIMEOUT_SECONDS)
    producer.begin_transaction()
    key = str(order["orderId"]).encode()
    producer.produce(shop.config.orders_topic.name, orjson.dumps(order), key)
    producer.commit_transaction(TIMEOUT_SECONDS)
