"""Idempotency records live for their time, and no longer."""

from __future__ import annotations

import asyncio

import pytest

from service import idempotency_expiry
from service.event_log import Appended, Key, Replayed
from service.idempotency_expiry import IdempotencyExpiry
from service.postgres import Postgres
from tests.support.logs import a_creation, appending
from tests.support.topics import eventually

KEPT_SECONDS = 3_600.0


def a_key(number: int) -> Key:
    return Key(f"key-{number}", b"fingerprint", 201)


async def make_old(postgres: Postgres, keys: int) -> None:
    """As if the first so many had been written a little more than an hour ago."""
    await postgres.execute(
        "UPDATE log.idempotency SET recorded_at = now() - interval '3601 s' WHERE key = ANY ($1)",
        [a_key(number).key for number in range(keys)],
    )


async def keys(postgres: Postgres) -> set[str]:
    return set(await postgres.fetch(str, "SELECT key FROM log.idempotency ORDER BY key"))


async def test_only_what_is_past_its_time_is_forgotten(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency_expiry, "BITE_RECORDS_MAX", 2)
    async with Postgres.connect(database) as postgres, appending(postgres) as appender:
        for number in range(7):
            await appender.append(a_creation(f"{number}@example.com", key=a_key(number)))
        await make_old(postgres, 5)

        expiry = IdempotencyExpiry(postgres, kept_seconds=KEPT_SECONDS)
        assert await expiry.sweep(asyncio.Event()) == 5

        assert await keys(postgres) == {"key-5", "key-6"}
        repeated = await appender.append(a_creation("6@example.com", key=a_key(6)))
        assert isinstance(repeated, Replayed)
        anew = await appender.append(a_creation("new@example.com", key=a_key(0)))
        assert isinstance(anew, Appended)


async def test_it_sweeps_by_itself_and_ends_when_stopped(database: str) -> None:
    async with Postgres.connect(database) as postgres, appending(postgres) as appender:
        await appender.append(a_creation("0@example.com", key=a_key(0)))
        await make_old(postgres, 1)
        stop = asyncio.Event()

        async def is_forgotten() -> bool:
            return await keys(postgres) == set()

        expiry = IdempotencyExpiry(postgres, kept_seconds=KEPT_SECONDS)
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            group.create_task(expiry.run(stop))
            await eventually(is_forgotten)
            stop.set()


async def test_a_stop_ends_a_sweep_after_the_bite_in_hand(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency_expiry, "BITE_RECORDS_MAX", 2)
    async with Postgres.connect(database) as postgres, appending(postgres) as appender:
        for number in range(7):
            await appender.append(a_creation(f"{number}@example.com", key=a_key(number)))
        await make_old(postgres, 7)
        stop = asyncio.Event()
        expiry = IdempotencyExpiry(postgres, kept_seconds=KEPT_SECONDS)
        async with postgres.transaction() as transaction:
            await transaction.execute("LOCK TABLE log.idempotency IN EXCLUSIVE MODE")
            sweeping = asyncio.create_task(expiry.sweep(stop))
            await eventually(lambda: waits_for_the_table(postgres))
            stop.set()

        assert await sweeping == 2
        assert len(await keys(postgres)) == 5
        assert await expiry.sweep(stop) == 0


async def waits_for_the_table(postgres: Postgres) -> bool:
    waiting = await postgres.fetch_one(
        int,
        "SELECT count(*) FROM pg_locks"
        " WHERE NOT granted AND relation = 'log.idempotency'::regclass",
    )
    return waiting == 1
