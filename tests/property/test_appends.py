"""Appends of two processes at the same time: each is carried out once or not at all.

Invariant: nothing is foretold about who wins a race. What was answered must agree with the log,
and whoever was refused must have met somebody who was in the way.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Sequence

import pytest
from hypothesis import HealthCheck, given, settings

from service.appender import Appender
from service.event_log import Appended, EventLog, Replayed
from service.events import CustomerCreated, CustomerUpdated, Event, RecordedEvent
from service.identifiers import CustomerId
from service.postgres import Postgres
from tests.property.race import ROUNDS, Happened, Wish, World, by_customer, holders
from tests.servers.databases import Databases
from tests.support.forgetting import as_kept
from tests.support.logs import appending
from tests.support.vaults import VAULT


@pytest.fixture(scope="module")
async def processes(databases: Databases) -> AsyncIterator[tuple[EventLog, Sequence[Appender]]]:
    url = await databases.create()
    async with (
        Postgres.connect(url) as one,
        Postgres.connect(url) as two,
        appending(one) as first,
        appending(two) as second,
    ):
        yield EventLog(one, VAULT), (first, second)
    await databases.drop(url)


@given(rounds=ROUNDS)
@settings(
    max_examples=settings().max_examples // 3,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
async def test_each_append_is_carried_out_once_or_not_at_all(
    processes: tuple[EventLog, Sequence[Appender]], rounds: list[list[Wish]]
) -> None:
    log, writers = processes
    world = World(log, writers, began_at=(await log.head()).position)
    for wishes in rounds:
        await world.play(wishes)
    events = await world.events()
    assert_log_holds_what_was_answered(world, events)
    events = answered_events(world)
    assert_emails_were_never_shared(events)
    assert_each_key_has_one_outcome(world)
    for happened in world.happened:
        if happened.code is not None:
            assert_refused_for_a_reason(happened, events)


def assert_log_holds_what_was_answered(world: World, events: list[RecordedEvent]) -> None:
    assert as_kept(answered_events(world)) == events
    first = world.began_at + 1
    assert [event.position for event in events] == list(range(first, first + len(events)))
    for stream in by_customer(events).values():
        assert [event.version for event in stream] == list(range(1, len(stream) + 1))
    for each in world.happened:
        if isinstance(each.result, Appended):
            result, append = each.result, each.append
            assert [event.event for event in result.events] == list(append.events)
            assert result.version == append.expected_version + len(append.events)
            if result.events:
                assert result.position == result.events[-1].position


def answered_events(world: World) -> list[RecordedEvent]:
    """What was appended, in order, with what the log no longer tells."""
    answered = [each.result for each in world.happened if isinstance(each.result, Appended)]
    told = [event for result in answered for event in result.events]
    return sorted(told, key=lambda event: event.position)


def assert_emails_were_never_shared(events: list[RecordedEvent]) -> None:
    """Not even between two events of the log."""
    states: dict[CustomerId, list[RecordedEvent]] = {}
    for event in events:
        states.setdefault(event.customer_id, []).append(event)
        holders(event.tenant, states)


def assert_each_key_has_one_outcome(world: World) -> None:
    by_key: dict[tuple[str, str], list[Happened]] = defaultdict(list)
    for each in world.happened:
        if each.append.key is not None:
            by_key[each.append.tenant, each.append.key.key].append(each)
    for uses in by_key.values():
        first = [each for each in uses if isinstance(each.result, Appended)]
        assert len(first) <= 1
        later = [each for each in uses if isinstance(each.result, Replayed)]
        reused = [each for each in uses if each.code == "idempotency_key_reused"]
        assert first or not (later or reused)
        for each in later:
            used, result = first[0].append, first[0].result
            assert used.key is not None
            assert isinstance(result, Appended)
            assert each.append.key == used.key
            assert each.result == Replayed(
                used.customer_id, result.version, result.position, used.key.status, None
            )
        for each in reused:
            assert each.append.key != first[0].append.key


def assert_refused_for_a_reason(happened: Happened, events: list[RecordedEvent]) -> None:
    append, found = happened.append, [each for each in events if each.position <= happened.after]
    meanwhile = [each for each in events if happened.after < each.position < happened.before]
    match happened.code:
        case "version_conflict":
            present = by_customer(found).get(append.customer_id, [])
            is_late = any(each.customer_id == append.customer_id for each in meanwhile)
            assert is_late or len(present) != append.expected_version
        case "email_taken":
            claims = {
                each.customer_id
                for each in meanwhile
                if each.tenant == append.tenant and email_in(each.event) == append.claim_email
            }
            held = holders(append.tenant, by_customer(found))
            claims |= {who for email, who in held.items() if email == append.claim_email}
            assert claims - {append.customer_id}
        case code:
            assert code == "idempotency_key_reused"


def email_in(event: Event) -> str | None:
    match event:
        case CustomerCreated(email=email):
            return email
        case CustomerUpdated(changes=changes):
            return changes.email
    return None
