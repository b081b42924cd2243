"""How far everything is, by the log: whoever follows it, and stands still, is found out."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from projections.checkpoint import CUSTOMERS, LOG_PARTITION
from service.events import CustomerTagged
from service.postgres import Postgres
from service.standing import STALLED_SECONDS, Overview, Standing, read_standing
from service.standing.snapshot import MINUTES
from tests.support.logs import a_change, a_creation
from tests.support.parking import change_the_log, spoil
from tests.support.projections import Projected, projected, running
from tests.support.topics import eventually

TOPIC = "customer.events.v1"
AGE = (
    "UPDATE log.event SET recorded_at = recorded_at - make_interval(secs => $1) WHERE position = $2"
)
FREEZE = """
INSERT INTO projection.checkpoint
    (projection, version, partition, epoch, position, topic_id, topic_offset, event_time)
SELECT 'customers', 1, -1, head.epoch, $1, '', 0, clock_timestamp() FROM log.head
"""
# All that a relay could say for itself is that it is well, and was just now.
LEASE = """
INSERT INTO relay.lease (topic, generation, owner, expires_at)
VALUES ('customer.events.v1', 1, 'frozen', clock_timestamp() + interval '1 hour')
"""
PROGRESS = """
INSERT INTO relay.progress (topic, topic_id, epoch, position, tails, recorded_at)
SELECT 'customer.events.v1', 'a', head.epoch, $1, $2, clock_timestamp() FROM log.head
"""


@pytest.fixture
async def model(database: str) -> AsyncIterator[Projected]:
    async with projected(database) as model:
        yield model


async def append(model: Projected, count: int) -> str:
    creation = a_creation("jane@example.com")
    await model.appender.append(creation)
    for version in range(1, count):
        change = a_change(creation.customer_id, version, CustomerTagged(tags=(f"tag {version}",)))
        await model.appender.append(change)
    return creation.customer_id


async def age(postgres: Postgres, position: int, seconds: float) -> None:
    """As if the event had been recorded earlier."""
    await change_the_log(postgres, AGE, seconds, position)


async def look(postgres: Postgres) -> Standing:
    return await read_standing(postgres, TOPIC, [CUSTOMERS.name])


def stalled(standing: Standing) -> list[str]:
    return [part.name for part in standing.parts if part.is_stalled]


async def test_nobody_is_behind_an_empty_log(model: Projected) -> None:
    standing = await look(model.postgres)
    assert [(part.name, part.position, part.lag_events) for part in standing.parts] == [
        ("relay", None, 0),
        ("projection customers", None, 0),
    ]
    assert stalled(standing) == []
    assert (standing.is_publishing, standing.parked) == (False, [])
    assert sum(minute.events for minute in standing.minutes) == 0


async def test_who_never_began_is_as_far_behind_as_there_are_events(model: Projected) -> None:
    await append(model, 3)
    assert [part.lag_events for part in (await look(model.postgres)).parts] == [3, 3]
    assert stalled(await look(model.postgres)) == []
    await age(model.postgres, 1, STALLED_SECONDS + 1)
    assert stalled(await look(model.postgres)) == ["relay", "projection customers"]


async def test_a_frozen_part_that_says_it_is_well_is_found_out(model: Projected) -> None:
    await append(model, 5)
    await model.postgres.execute(LEASE)
    await model.postgres.execute(PROGRESS, 2, [2, 1])
    await model.postgres.execute(FREEZE, 3)
    assert stalled(await look(model.postgres)) == []
    await age(model.postgres, 3, STALLED_SECONDS + 5)
    standing = await look(model.postgres)
    assert standing.is_publishing
    assert stalled(standing) == ["relay"]  # for the projection has come by that event
    assert (standing.relay.position, standing.relay.lag_events) == (2, 3)
    assert standing.relay.lag_seconds > STALLED_SECONDS + 5
    assert standing.relay.partitions == {0: 2, 1: 1}
    await age(model.postgres, 4, STALLED_SECONDS + 1)
    assert stalled(await look(model.postgres)) == ["relay", "projection customers"]


async def test_what_lies_behind_the_position_counts_for_nothing(model: Projected) -> None:
    """However old: a quiet log is no alarm."""
    await append(model, 2)
    await age(model.postgres, 2, 3_600)
    async with running(model.runner()):
        await eventually(model.is_up_to_date)
    (part,) = (await look(model.postgres)).projections
    assert (part.position, part.lag_events, part.lag_seconds) == (2, 0, 0.0)
    assert part.partitions == {LOG_PARTITION: 2}


async def test_what_kafka_holds_counts_in_place_of_what_is_recorded(model: Projected) -> None:
    await append(model, 4)
    standing = await read_standing(model.postgres, TOPIC, [], published=3)
    assert (standing.relay.position, standing.relay.lag_events) == (3, 1)
    assert standing.projections == []


async def test_a_version_that_is_being_built_is_not_looked_at(model: Projected) -> None:
    await append(model, 2)
    await model.postgres.execute(FREEZE, 2)
    await model.postgres.execute(FREEZE.replace("1, -1", "2, -1"), 0)
    (part,) = (await look(model.postgres)).projections
    assert part.position == 2


async def test_the_parked_are_counted_by_their_reasons(model: Projected) -> None:
    customer_id = await append(model, 2)
    await spoil(model.postgres, customer_id, 2)
    async with running(model.runner()):
        await eventually(model.is_up_to_date)
    standing = await look(model.postgres)
    assert [(each.reason, each.customers) for each in standing.parked] == [("unknown_type", 1)]
    assert standing.parked[0].since <= standing.now


async def test_the_last_hour_of_the_log_is_told_by_minutes(model: Projected) -> None:
    await append(model, 6)
    for position, seconds in ((1, 7_200), (2, 600), (3, 600), (4, 120)):
        await age(model.postgres, position, seconds)
    await model.postgres.execute(FREEZE, 2)
    standing = await look(model.postgres)
    assert len(standing.minutes) == MINUTES
    assert standing.minutes[-1].begins <= standing.now
    assert sum(minute.events for minute in standing.minutes) == 5  # one is older than an hour
    busy = [minute for minute in standing.minutes if minute.events]
    assert [minute.events for minute in busy][:2] == [2, 1]
    (part,) = standing.projections
    assert [minute.waiting(part) for minute in busy][:2] == [1, 1]
    assert sum(minute.waiting(part) for minute in busy) == part.lag_events


async def test_without_a_kafka_no_relay_is_missed(model: Projected) -> None:
    await append(model, 1)
    await age(model.postgres, 1, STALLED_SECONDS + 1)
    await model.postgres.execute(FREEZE, 1)
    seen = Overview(await look(model.postgres), kafka=None)
    assert seen.stalled == []
