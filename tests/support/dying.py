"""Relays that die at any step of a transaction, and what must hold afterwards.

Invariant: a relay that dies here leaves nothing behind that goes on; only Kafka and Postgres know.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from service.kafka import TransactionalProducer
from service.relay.progress import ProgressTable
from tests.support.relays import World
from tests.support.topics import chain_breaks, events_of


async def each_is_there_once(world: World, events: int) -> None:
    records = await world.records()
    assert sorted(event.position for event in events_of(records)) == list(range(1, events + 1))
    assert chain_breaks(records) == []


Step = tuple[type, str, bool]
STEPS = {
    "before anything is sent": (TransactionalProducer, "write", False),
    "after sending": (TransactionalProducer, "write", True),
    "before the commit": (TransactionalProducer, "commit", False),
    "after the commit": (TransactionalProducer, "commit", True),
    "before the mirror": (ProgressTable, "record", False),
    "after the mirror": (ProgressTable, "record", True),
}


@asynccontextmanager
async def hanging_at(step: Step, time: int = 2) -> AsyncIterator[asyncio.Event]:
    """In the block whoever comes to the step for so many times stays there. Says when one has.

    The first time may be a session's start, which has its own.
    """
    owner, name, is_after = step
    reached, times, original = asyncio.Event(), 0, getattr(owner, name)

    async def hang(self: object, *arguments: object) -> object:
        nonlocal times
        times += 1
        if times < time:
            return await original(self, *arguments)
        if is_after:
            await original(self, *arguments)
        reached.set()
        return await asyncio.Event().wait()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, hang)
        yield reached


async def die_at(world: World, step: Step, time: int = 2) -> None:
    """A relay that is killed there: nothing of it goes on but what Kafka has."""
    async with hanging_at(step, time) as reached:
        dying = asyncio.create_task(world.relay(batch_events_max=10).run())
        await asyncio.wait_for(reached.wait(), 20)
        dying.cancel()
        await asyncio.wait([dying])
