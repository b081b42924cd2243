"""The log on a real PostgreSQL: contiguous, each command alone, append-only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

import pytest

from service.appender import Appender
from service.errors import Conflict, Corrupt
from service.event_log import Append, Appended, EventLog, Key, Replayed
from service.events import CustomerDeactivated, CustomerTagged, Position
from service.postgres import Postgres
from tests.support.logs import a_change, a_creation, appending
from tests.support.vaults import VAULT

PRINT = b"fingerprint-0001"


@pytest.fixture
async def postgres(database: str) -> AsyncIterator[Postgres]:
    async with Postgres.connect(database) as postgres:
        yield postgres


@pytest.fixture
async def appender(postgres: Postgres) -> AsyncIterator[Appender]:
    async with appending(postgres) as appender:
        yield appender


async def outcomes(appender: Appender, appends: Sequence[Append]) -> list[str]:
    """What became of appends that were asked for at the same time."""
    results = await asyncio.gather(
        *(appender.append(each) for each in appends), return_exceptions=True
    )
    return [r.code if isinstance(r, Conflict) else type(r).__name__ for r in results]


async def test_positions_are_contiguous_and_streams_in_order(
    postgres: Postgres, appender: Appender
) -> None:
    async with appending(postgres) as other:
        appends = [a_creation(f"jane{n}@example.com") for n in range(300)]
        created = await asyncio.gather(
            *((appender, other)[n % 2].append(each) for n, each in enumerate(appends))
        )
        changes = [
            a_change(each.customer_id, 1, CustomerTagged(tags=("a",)), CustomerDeactivated())
            for each in appends
        ]
        changed = await asyncio.gather(
            *((other, appender)[n % 2].append(each) for n, each in enumerate(changes))
        )

    events = [stored.decoded() for stored in await EventLog(postgres, VAULT).page(Position(0))]

    assert [event.position for event in events] == list(range(1, 901))
    assert [event.time for event in events] == sorted(event.time for event in events)
    for first, second in zip(created, changed, strict=True):
        told = [*first.events, *second.events]
        assert told == [event for event in events if event.customer_id == told[0].customer_id]
        assert [event.version for event in told] == [1, 2, 3]


async def test_one_of_fifty_claims_an_email(appender: Appender) -> None:
    appends = [a_creation("jane@example.com") for _ in range(50)]

    results = await outcomes(appender, appends)

    assert sorted(results) == ["Appended"] + ["email_taken"] * 49


async def test_an_email_is_claimed_per_tenant(appender: Appender) -> None:
    appends = [a_creation("jane@example.com", tenant=tenant) for tenant in ("one", "two")]

    assert await outcomes(appender, appends) == ["Appended", "Appended"]


async def test_each_command_of_a_batch_succeeds_or_fails_alone(appender: Appender) -> None:
    jane = a_creation("jane@example.com")
    await appender.append(jane)

    results = await outcomes(
        appender,
        [
            a_creation("joe@example.com"),
            a_creation("jane@example.com"),
            a_change(jane.customer_id, 1, CustomerDeactivated()),
            a_change(jane.customer_id, 1, CustomerTagged(tags=("late",))),
            a_creation("jim@example.com"),
        ],
    )

    assert results == ["Appended", "email_taken", "Appended", "version_conflict", "Appended"]


async def test_a_value_that_the_database_refuses_fails_only_its_own_command(
    appender: Appender,
) -> None:
    results = await outcomes(
        appender,
        [
            a_creation("a@example.com"),
            a_creation("n@example.com", tags=("\0",)),
            a_creation("b@example.com"),
        ],
    )

    assert results == ["Appended", "Corrupt", "Appended"]


async def test_a_key_answers_the_same_again_and_appends_once(
    postgres: Postgres, appender: Appender
) -> None:
    key = Key("key-1", PRINT, 201)
    first = a_creation("jane@example.com", key=key)

    results = await asyncio.gather(
        *(appender.append(each) for each in (first, a_creation("jane@example.com", key=key)))
    )
    later = await appender.append(a_creation("jane@example.com", key=key))

    assert [type(each) for each in results] == [Appended, Replayed]
    assert later == Replayed(first.customer_id, results[0].version, results[0].position, 201, None)
    assert (await EventLog(postgres).head()).position == 1


async def test_a_key_with_another_request_is_refused(appender: Appender) -> None:
    await appender.append(a_creation("jane@example.com", key=Key("key-1", PRINT, 201)))
    other = a_creation("joe@example.com", key=Key("key-1", b"another-print-02", 201))

    assert await outcomes(appender, [other]) == ["idempotency_key_reused"]


async def test_a_refused_command_does_not_use_up_its_key(appender: Appender) -> None:
    await appender.append(a_creation("jane@example.com"))
    key = Key("key-1", PRINT, 201)

    refused = await outcomes(appender, [a_creation("jane@example.com", key=key)])
    accepted = await outcomes(appender, [a_creation("joe@example.com", key=key)])

    assert (refused, accepted) == (["email_taken"], ["Appended"])


async def test_a_command_without_events_remembers_its_key_and_place(appender: Appender) -> None:
    jane = a_creation("jane@example.com")
    created = await appender.append(jane)
    await appender.append(a_creation("joe@example.com"))
    key = Key("key-1", PRINT, 200)
    idle = Append("default", jane.customer_id, created.version, (), jane.meta, key=key)

    appended, replayed = await appender.append(idle), await appender.append(idle)

    assert isinstance(appended, Appended)
    assert (appended.version, appended.position) == (1, created.position)
    assert replayed == Replayed(jane.customer_id, created.version, created.position, 200, None)


async def test_a_released_email_can_be_claimed_again(appender: Appender) -> None:
    jane = a_creation("jane@example.com")
    await appender.append(jane)
    leaving = Append(
        "default",
        jane.customer_id,
        (await appender.append(a_change(jane.customer_id, 1, CustomerDeactivated()))).version,
        (CustomerTagged(tags=("moved",)),),
        jane.meta,
        claim_email="new@example.com",
        release_email="jane@example.com",
    )

    await appender.append(leaving)

    assert await outcomes(
        appender, [a_creation("jane@example.com"), a_creation("new@example.com")]
    ) == ["Appended", "email_taken"]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE log.event SET version = 7",
        "DELETE FROM log.event",
        "TRUNCATE log.event",
        "UPDATE log.event_000000 SET version = 7",
        "DELETE FROM log.event_000000",
        "TRUNCATE log.event_000000",
    ],
)
async def test_nobody_changes_what_was_written(
    postgres: Postgres, appender: Appender, statement: str
) -> None:
    await appender.append(a_creation("jane@example.com"))

    with pytest.raises(Corrupt, match="event_append_only"):
        await postgres.execute(statement)


class Partition(NamedTuple):
    name: str


async def test_partitions_are_made_long_before_they_are_needed(
    postgres: Postgres, appender: Appender
) -> None:
    await postgres.execute("UPDATE log.head SET position = 9999990")

    appends = [a_creation(f"jane{n}@example.com") for n in range(20)]
    await asyncio.gather(*(appender.append(each) for each in appends))

    partitions = await postgres.fetch(
        Partition,
        "SELECT inhrelid::regclass::text FROM pg_inherits"
        " WHERE inhparent = 'log.event'::regclass ORDER BY 1",
    )
    assert [each.name for each in partitions] == ["log.event_000000", "log.event_000001"]
    crossing = await EventLog(postgres, VAULT).page(Position(9_999_990))
    assert [event.position for event in crossing] == list(range(9_999_991, 10_000_011))


async def test_a_reader_that_follows_sees_every_event_in_order(
    postgres: Postgres, appender: Appender
) -> None:
    """Invariant of the log: what is visible has no hole below it, whoever writes meanwhile."""
    seen: list[int] = []

    async def follow() -> None:
        log = EventLog(postgres, VAULT)
        while len(seen) < 600:
            seen.extend(e.position for e in await log.page(Position(seen[-1] if seen else 0)))

    async def write(writer: Appender, name: str) -> None:
        for number in range(100):
            await writer.append(a_creation(f"{name}{number}@example.com"))

    async with appending(postgres) as other, asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        tasks.create_task(follow())
        for number in range(6):
            tasks.create_task(write((appender, other)[number % 2], f"w{number}-"))

    assert seen == list(range(1, 601))


async def test_no_acknowledged_append_is_lost_or_doubled_when_connections_are_cut(
    postgres: Postgres, database: str
) -> None:
    """A cut link leaves a batch ambiguous; the appender finds out before it answers."""
    acknowledged: list[Appended] = []

    async def write(writer: Appender, name: str) -> None:
        for number in range(60):
            result = await writer.append(a_creation(f"{name}{number}@example.com"))
            assert isinstance(result, Appended)
            acknowledged.append(result)

    async def cut(done: asyncio.Event) -> None:
        while not done.is_set():
            await postgres.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'victim' AND datname = current_database()"
            )
            await asyncio.wait([asyncio.create_task(done.wait())], timeout=0.03)

    done = asyncio.Event()
    async with (
        Postgres.connect(database, application_name="victim") as victim,
        appending(victim) as writer,
        asyncio.timeout(60),
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(cut(done))
        await asyncio.gather(*(write(writer, f"w{number}-") for number in range(8)))
        done.set()

    stored = [event.decoded() for event in await EventLog(postgres, VAULT).page(Position(0))]
    assert [event.position for event in stored] == list(range(1, 481))
    told = sorted(
        (event for each in acknowledged for event in each.events), key=lambda event: event.position
    )
    assert told == stored


@pytest.mark.parametrize(
    ("age_seconds", "goes_on", "oldest"),
    [(3_600.0, True, 0), (3_600.0, False, 0), (-3_600.0, True, 61), (-3_600.0, False, 6)],
)
async def test_the_last_event_of_an_age_is_found_where_events_are_missing(
    postgres: Postgres, appender: Appender, age_seconds: float, goes_on: bool, oldest: int
) -> None:
    """The search once went round for ever in a hole. Below 0 s of age everything is older."""
    for number in range(6):
        await appender.append(a_creation(f"jane{number}@example.com"))
    await postgres.execute("UPDATE log.head SET position = 60")
    if goes_on:
        await appender.append(a_creation("joe@example.com"))
    async with asyncio.timeout(5):
        assert await EventLog(postgres).last_older_than(age_seconds) == oldest
