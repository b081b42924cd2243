"""The topic of states: its last record of every customer is what the read model shows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from random import Random

import orjson
import pytest
from structlog.testing import capture_logs

from projections.states import States
from service.errors import Unavailable
from service.event_log import EventLog
from service.events import CustomerDeleted, CustomerTagged
from service.kafka import STATE_TYPE, SWEEP_KEY, SWEEP_TYPE, Producer, Record, Topics
from tests.servers.server import Handle, Wipeable
from tests.support.logs import a_change, a_creation
from tests.support.projections import running
from tests.support.relays import is_true
from tests.support.states import Written, a_written, last_states, writing
from tests.support.topics import eventually

COMPACTION_TIMEOUT_SECONDS = 60.0


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


async def refused(worker: States, why: str) -> None:
    await eventually(lambda: is_true(why in str(worker.status.problem)))
    assert worker.status.phase == "unavailable"


async def test_states_of_another_log_are_refused_until_the_topic_is_made_anew(
    written: Written,
) -> None:
    """Meanwhile the worker waits: its end would be the end of the read model's too."""
    await written.append(1)
    await written.model.catch_up()
    async with writing(written.worker()):
        await eventually(written.is_up_to_date)
    await written.model.postgres.execute("UPDATE log.head SET epoch = 'restored'")
    await written.model.postgres.execute(
        "UPDATE projection.checkpoint SET epoch = 'restored' WHERE projection = 'customers'"
    )
    before = await written.all_records()
    worker = written.worker()
    with capture_logs() as logs:
        async with writing(worker):
            await refused(worker, "another log")
            await written.append(2, prefix="more_")
            await written.model.catch_up()
            assert await written.all_records() == before
            await delete_topic(written)
            await make_topic(written)
            await eventually(lambda: _is_exact(written))
            await eventually(lambda: is_true(worker.status.phase == "running"))
    assert [each["event"] for each in logs].count("states_refused") == 1


async def test_a_log_that_was_set_back_is_refused(written: Written) -> None:
    await written.append(1)
    await written.model.catch_up()
    async with writing(written.worker()):
        await eventually(written.is_up_to_date)
    await written.model.postgres.execute("UPDATE log.head SET position = 1")
    worker = written.worker()
    async with writing(worker):
        await refused(worker, "set back")


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


@pytest.mark.parametrize("breaks", [False, True])
async def test_a_stop_in_a_lost_race_leaves_no_state_behind_a_tombstone(
    written: Written, monkeypatch: pytest.MonkeyPatch, breaks: bool
) -> None:
    """The winner sent the tombstone; then came the loser's state, its stop, and maybe a failure."""
    creation = a_creation("raced@example.com")
    await written.model.appender.append(creation)
    await written.model.catch_up()
    worker = written.worker()
    send = Producer.send

    async def late(
        self: Producer, topic: str, records: Mapping[int, Sequence[Record]]
    ) -> Mapping[int, int]:
        if all(record.key == SWEEP_KEY for of_one in records.values() for record in of_one):
            return await send(self, topic, records)
        monkeypatch.setattr(Producer, "send", send)
        deletion = a_change(creation.customer_id, 1, CustomerDeleted())
        await written.model.appender.append(deletion)
        await written.model.catch_up()
        async with Producer.connect(written.config) as producer:
            assert await (await written.writer(producer)).write() == 2
        worker.stop()
        offsets = await send(self, topic, records)
        if breaks:
            raise Unavailable("broker_unavailable", "The link broke.")
        return offsets

    monkeypatch.setattr(Producer, "send", late)
    await worker.run()
    versions = [int(dict(each.headers)["ce_sequence"]) for each in await written.records()]
    assert versions == [2, 1, 2]
    await written.assert_exact()


async def test_a_stop_waits_no_longer_than_its_limit_for_what_is_in_doubt(
    written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    await written.append(1)
    await written.model.catch_up()
    worker = written.worker(shutdown_timeout_seconds=1.0)

    async def broken(
        self: Producer, topic: str, records: Mapping[int, Sequence[Record]]
    ) -> Mapping[int, int]:
        if all(record.key == SWEEP_KEY for of_one in records.values() for record in of_one):
            return {}
        worker.stop()
        raise Unavailable("broker_unavailable", "The link is broken.")

    monkeypatch.setattr(Producer, "send", broken)
    async with asyncio.timeout(10):
        await worker.run()
    assert 1 < len(written.observed.failures) < 10
    assert worker.status.phase == "stopped"


async def test_a_worker_that_begins_appends_to_every_partition(written: Written) -> None:
    for _ in range(2):
        worker = written.worker()
        async with writing(worker):
            await eventually(lambda: is_true(worker.status.phase == "running"))  # noqa: B023
    records = await written.all_records()
    assert sorted(each.partition for each in records) == sorted([*range(6)] * 2)
    for each in records:
        assert (each.key, each.value) == (SWEEP_KEY, None)
        assert dict(each.headers)["ce_type"] == SWEEP_TYPE.encode()


@pytest.mark.real_kafka
async def test_the_states_of_the_deleted_are_compacted_away_where_nothing_else_is_written(
    written: Written,
) -> None:
    await delete_topic(written)
    written.config = replace(written.config, events_retention_seconds=2)
    await make_topic(written)
    creation = a_creation("jane@example.com")
    await written.model.appender.append(creation)
    async with running(written.model.runner()), writing(written.worker()):
        await eventually(written.is_up_to_date)
        assert not await _tells_of_nobody(written)
        deletion = a_change(creation.customer_id, 1, CustomerDeleted())
        await written.model.appender.append(deletion)
        await eventually(written.is_up_to_date)
        await eventually(lambda: _tells_of_nobody(written), COMPACTION_TIMEOUT_SECONDS)
    assert await written.is_up_to_date()


async def _tells_of_nobody(written: Written) -> bool:
    return not any(each.value for each in await written.records())
