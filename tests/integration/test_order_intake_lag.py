"""How many orders wait, as every intake tells it: of the whole topic, whatever becomes of itself.

Invariant: what is expected comes from what was published and what the log has, never from the
function that the intake asks.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from uuid import uuid4

import confluent_kafka
import orjson
import pytest

from service.errors import Unavailable
from service.kafka import KafkaConfig
from service.order_intake import OrderMessage, waiting_orders
from service.order_intake.recorder import Outcome, Recorder
from service.standing import Orders
from tests.integration.test_outage_logs import out_of_reach
from tests.servers.server import Handle
from tests.support.orders import QUICKLY_SECONDS, Observed, Shop, add_tenant, an_order, running
from tests.support.relays import a_world, is_true
from tests.support.topics import eventually

TIMEOUT_SECONDS = 20.0
ORDERS = 300
TAKEN_FIRST = 10


@pytest.fixture
async def shop(database: str, kafka_server: Handle, topic_suffix: str) -> AsyncIterator[Shop]:
    async with a_world(database, kafka_server, topic_suffix) as world:
        await add_tenant(world.postgres, "default")
        yield Shop(world)


async def tells(observed: Observed, messages: int) -> None:
    await eventually(lambda: is_true(observed.lag_messages == messages))


async def test_what_waits_is_told_while_the_database_takes_nothing(
    shop: Shop, database: str, postgres_server: Handle
) -> None:
    (jane,) = await shop.customers(1)
    async with running(shop.intake(observe_seconds=QUICKLY_SECONDS)):
        await shop.publish([an_order("a", 1, jane)])
        await shop.takes_in(recorded=1)
        await tells(shop.observed, 0)
        async with out_of_reach(database, postgres_server):
            await shop.publish(an_order(f"b{number}", 1, jane) for number in range(5))
            await tells(shop.observed, 5)
            await shop.publish(an_order(f"c{number}", 1, jane) for number in range(5))
            await tells(shop.observed, 10)
            assert shop.observed.failures
        await shop.takes_in(recorded=11)
        await tells(shop.observed, 0)


async def test_an_intake_whose_partitions_went_to_another_tells_no_old_number(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one takes in a batch and cannot write any more; the second takes over a half."""
    record, began = Recorder.record, list[Recorder]()

    async def refuse_the_first(self: Recorder, messages: Sequence[OrderMessage]) -> list[Outcome]:
        if self in began:
            raise Unavailable("database_unavailable", "It refuses the user.")
        if not began:
            began.append(self)
        return await record(self, messages)

    monkeypatch.setattr(Recorder, "record", refuse_the_first)
    monkeypatch.setattr("service.order_intake.intake.REVOKE_WAIT_SECONDS", QUICKLY_SECONDS)
    (jane,) = await shop.customers(1)
    await shop.publish(an_order(f"a{number}", 1, jane) for number in range(ORDERS))
    first, second = Observed(), Observed()

    async def both_tell_what_is_left() -> bool:
        left = ORDERS - len(await shop.accepted())
        return first.lag_messages == second.lag_messages == left < ORDERS - TAKEN_FIRST

    intake = shop.intake(
        observed=first, batch_messages_max=TAKEN_FIRST, observe_seconds=QUICKLY_SECONDS
    )
    async with running(intake):
        await eventually(lambda: is_true(bool(first.failures) and first.lag_messages > 0))
        async with running(shop.intake(observed=second, observe_seconds=QUICKLY_SECONDS)):
            await eventually(both_tell_what_is_left)
        assert first.lag_messages > 0
    assert sum(second.outcomes.values()) > 0


async def test_a_broker_that_does_not_answer_ends_no_looking(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0

    async def answer_at_last(config: KafkaConfig, epoch: str, now: datetime) -> Orders:
        nonlocal looks
        looks += 1
        if looks == 1:
            await asyncio.Event().wait()
        if looks == 2:
            raise Unavailable("broker_unavailable", "Kafka did not answer.")
        return await waiting_orders(config, epoch, now)

    monkeypatch.setattr("service.order_intake.intake.waiting_orders", answer_at_last)
    monkeypatch.setattr("service.order_intake.intake.LOOK_SECONDS_MAX", QUICKLY_SECONDS)
    async with running(shop.intake(observe_seconds=QUICKLY_SECONDS)):
        await eventually(lambda: is_true(looks >= 3))
        monkeypatch.setattr("service.order_intake.intake.LOOK_SECONDS_MAX", TIMEOUT_SECONDS)
        await tells(shop.observed, 0)


@pytest.mark.real_kafka
async def test_markers_of_transactions_are_no_orders_that_wait(shop: Shop) -> None:
    (jane,) = await shop.customers(1)
    async with running(shop.intake(observe_seconds=QUICKLY_SECONDS)):
        for number in range(3):
            _publish_in_a_transaction(shop, an_order(f"a{number}", 1, jane))
        await shop.takes_in(recorded=3)
        await tells(shop.observed, 0)


def _publish_in_a_transaction(shop: Shop, order: dict[str, object]) -> None:
    producer = confluent_kafka.Producer(
        {"bootstrap.servers": shop.config.bootstrap_servers, "transactional.id": uuid4().hex}
    )
    producer.init_transactions(TIMEOUT_SECONDS)
    producer.begin_transaction()
    key = str(order["orderId"]).encode()
    producer.produce(shop.config.orders_topic.name, orjson.dumps(order), key)
    producer.commit_transaction(TIMEOUT_SECONDS)
