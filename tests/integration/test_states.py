"""The topic of states: its last record of every customer is what the read model shows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from random import Random

import orjson
import pytest

from projections.states import States
from service.errors import ConfigurationError, Corrupt
from service.event_log import EventLog
from service.events import CustomerDeleted, CustomerTagged
from service.kafka import STATE_TYPE, Topics
from tests.servers.server import Handle, Wipeable
from tests.support.logs import a_change, a_creation
from tests.support.projections import running
from tests.support.relays import is_true
from tests.support.states import Written, a_written, last_states, writing
from tests.support.topics import eventually

REFUSAL_TIMEOUT_SECONDS = 20.0


@pytest.fixture
async def written(database: str, kafka_server: Handle, topic_suffix: str) -> AsyncIterator[Written]:
    async with a_written(database, kafka_server, topic_suffix) as made:
        yield made


@pytest.fixture
async def breakable(
    database: str, breakable_kafka: Wipeable, topic_suffix: str
) -> AsyncIterator[Written]:
    async with a_written(database, breakable_kafka, topic_suffix) as made:
        made.config = replace(made.config, request_timeout_seconds=1.0)
        yield made


async def delete_topic(written: Written) -> None:
    async with Topics.connect(written.config) as topics:
        await topics.delete(written.topic)


async def make_topic(written: Written) -> None:
    async with Topics.connect(written.config) as topics:
        await topics.create_missing([written.config.state_topic])


async def test_the_last_record_of_every_customer_is_what_is_shown(written: Written) -> None:
    await written.append(1, prefix="before_")
    async with running(written.model.runner()), writing(written.worker()):
        await written.append(2, steps=300)
        await eventually(written.is_up_to_date)
    await written.assert_exact()
    shown = await written.shown()
    assert {document is None for _, document in shown.values()} == {True, False}


async def test_a_record_says_whose_and_which_state_it_is(written: Written) -> None:
    creation = a_creation("jane@example.com")
    await written.model.appender.append(creation)
    async with running(written.model.runner()), writing(written.worker()):
        await eventually(written.is_up_to_date)
        deletion = a_change(creation.customer_id, 1, CustomerDeleted())
        await written.model.appender.append(deletion)
        await eventually(written.is_up_to_date)
    state, tombstone = await written.records()
    head = await EventLog(written.model.postgres).head()
    key = creation.customer_id.encode()
    assert state.key == tombstone.key == key
    assert state.value is not None
    assert orjson.loads(state.value)["email"] == "jane@example.com"
    assert tombstone.value is None
    assert {name: value.decode() for name, value in tombstone.headers} == {
        "ce_specversion": "1.0",
        "ce_id": f"state-{head.epoch}-{creation.customer_id}-2",
        "ce_source": "/customers",
        "ce_type": STATE_TYPE,
        "ce_subject": creation.customer_id,
        "ce_time": head.time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "ce_sequence": "2",
        "ce_position": "2",
        "ce_epoch": head.epoch,
        "ce_tenant": "default",
        "content-type": "application/json",
    }


async def test_workers_that_are_cancelled_anywhere_lose_nothing(written: Written) -> None:
    choose = Random(7)
    async with running(written.model.runner()):
        appending = asyncio.create_task(written.append(3, steps=600))
        for _ in range(12):
            worker = written.worker(page_events_max=5)
            cancelled = asyncio.create_task(worker.run())
            await eventually(lambda: is_true(worker.status.phase == "running"))  # noqa: B023
            await asyncio.wait([cancelled], timeout=choose.uniform(0.0, 0.1))
            cancelled.cancel()
            await asyncio.wait([cancelled])
        await appending
        async with writing(written.worker()):
            await eventually(written.is_up_to_date)
    await written.assert_exact()


async def test_two_workers_write_what_one_would(written: Written) -> None:
    async with (
        running(written.model.runner(batch_events_max=10)),
        writing(written.worker(page_events_max=5), written.worker(page_events_max=7)),
    ):
        for seed in range(4):
            await written.append(seed, prefix=f"{seed}_")
            await eventually(written.is_up_to_date)
    await written.assert_exact()
    assert written.observed.failures == []


async def test_a_topic_made_anew_is_written_whole(written: Written) -> None:
    async with running(written.model.runner()), writing(written.worker()):
        await written.append(1)
        await eventually(written.is_up_to_date)
        await delete_topic(written)
        await eventually(lambda: is_true(bool(written.observed.failures)))
        await make_topic(written)
        await written.append(2, prefix="more_")
        await eventually(lambda: _is_exact(written))
    assert set(written.observed.failures) == {"broker_unavailable"}


async def test_a_topic_made_anew_while_nobody_wrote_is_written_whole(written: Written) -> None:
    await written.append(1)
    await written.model.catch_up()
    async with writing(written.worker()):
        await eventually(written.is_up_to_date)
    await delete_topic(written)
    await make_topic(written)
    async with writing(written.worker()):
        await eventually(lambda: _is_exact(written))


async def _is_exact(written: Written) -> bool:
    return last_states(await written.records()) == await written.shown()


async def test_who_catches_up_writes_each_customer_once_and_loses_none(written: Written) -> None:
    await written.append(4, steps=600)
    await written.model.catch_up()
    async with writing(written.worker(page_events_max=10)):
        await eventually(written.is_up_to_date)
    await written.assert_exact()
    assert len(await written.records()) == len(await written.shown())


async def test_who_is_shown_as_of_before_is_written_all_the_same(written: Written) -> None:
    """A parked customer's row is older than the events that wait for it."""
    tagged = CustomerTagged(tags=("late",))
    creation = a_creation("parked@example.com")
    await written.model.appender.append(creation)
    await written.model.catch_up()
    await written.model.appender.append(a_change(creation.customer_id, 1, tagged))
    await written.model.postgres.execute(
        "UPDATE projection.checkpoint SET position = position + 1 WHERE projection = 'customers'"
    )
    async with writing(written.worker(page_events_max=1)):
        await eventually(written.is_up_to_date)
    await written.assert_exact()


async def test_a_broker_that_is_down_holds_up_nothing_but_the_states(
    breakable: Written, breakable_kafka: Wipeable
) -> None:
    worker = breakable.worker()
    async with running(breakable.model.runner()), writing(worker):
        await breakable.append(1)
        await eventually(breakable.is_up_to_date)
        await breakable_kafka.kill()
        try:
            await breakable.append(2, prefix="down_")
            await eventually(breakable.model.is_up_to_date)
            await eventually(lambda: is_true(worker.status.phase == "unavailable"))
        finally:
            await breakable_kafka.restart()
        await eventually(breakable.is_up_to_date, 40)
        assert worker.status.phase == "running"
    await breakable.assert_exact()


async def test_a_broker_that_forgot_its_topics_gets_all_states_again(
    breakable: Written, breakable_kafka: Wipeable
) -> None:
    async with running(breakable.model.runner()), writing(breakable.worker(creates_topic=True)):
        await breakable.append(1)
        await eventually(breakable.is_up_to_date)
        await breakable_kafka.wipe()
        await breakable.append(2, prefix="more_")
        await eventually(lambda: is_true(bool(breakable.observed.failures)))
        await eventually(lambda: _is_whole(breakable), 40)
    await breakable.assert_exact()


async def _is_whole(written: Written) -> bool:
    async with Topics.connect(written.config) as topics:
        if await topics.describe(written.topic) is None:
            return False
    return await _is_exact(written)


async def test_a_missing_topic_holds_up_nothing_but_the_states(written: Written) -> None:
    await delete_topic(written)
    worker = written.worker()
    async with running(written.model.runner()), writing(worker):
        await written.append(1)
        await eventually(written.model.is_up_to_date)
        await eventually(lambda: is_true(worker.status.phase == "unavailable"))
        assert "run `customers migrate`" in str(worker.status.problem)
    assert worker.status.phase == "stopped"


async def refused(worker: States) -> None:
    async with asyncio.timeout(REFUSAL_TIMEOUT_SECONDS):
        await worker.run()


async def test_states_of_another_log_are_refused_until_the_topic_is_made_anew(
    written: Written,
) -> None:
    await written.append(1)
    await written.model.catch_up()
    async with writing(written.worker()):
        await eventually(written.is_up_to_date)
    await written.model.postgres.execute("UPDATE log.head SET epoch = 'restored'")
    await written.model.postgres.execute(
        "UPDATE projection.checkpoint SET epoch = 'restored' WHERE projection = 'customers'"
    )
    with pytest.raises(ConfigurationError, match="another log"):
        await refused(written.worker())

    await delete_topic(written)
    await make_topic(written)
    async with writing(written.worker()):
        await eventually(lambda: _is_exact(written))


async def test_a_log_that_was_set_back_is_refused(written: Written) -> None:
    await written.append(1)
    await written.model.catch_up()
    async with writing(written.worker()):
        await eventually(written.is_up_to_date)
    await written.model.postgres.execute("UPDATE log.head SET position = 1")
    with pytest.raises(Corrupt, match="set back"):
        await refused(written.worker())


async def test_a_read_model_of_another_log_is_waited_for(written: Written) -> None:
    await written.append(1)
    await written.model.catch_up()
    await written.model.postgres.execute("UPDATE projection.checkpoint SET epoch = 'another'")
    worker = written.worker()
    async with writing(worker):
        await eventually(lambda: is_true(worker.status.phase == "running"))
        head = (await EventLog(written.model.postgres).head()).position
        await eventually(lambda: is_true(written.observed.lag[:2] == (0, head)))
    assert written.observed.lag[2] > 0
    assert await written.records() == []


async def test_stop_may_come_before_run_and_twice(written: Written) -> None:
    worker = written.worker()
    worker.stop()
    worker.stop()
    await worker.run()
    assert worker.status.phase == "stopped"
