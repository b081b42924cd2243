"""One at a time for each key, and nobody waits for long."""

from __future__ import annotations

import asyncio

import pytest

from service import turns
from service.errors import Unavailable
from service.turns import Turns

MANY = 20


async def held(of: Turns[str], key: str, until: asyncio.Event, inside: list[str]) -> None:
    async with of.take(key):
        inside.append(key)
        await until.wait()


async def all_wait(tasks: list[asyncio.Task[None]]) -> None:
    """Until each has come as far as it can."""
    for _ in range(3):
        await asyncio.wait(tasks, timeout=0)


async def test_one_is_inside_for_each_key() -> None:
    of: Turns[str] = Turns()
    until, inside = asyncio.Event(), list[str]()
    tasks = [asyncio.create_task(held(of, key, until, inside)) for key in "aaabbb"]
    await all_wait(tasks)
    assert inside == ["a", "b"]
    until.set()
    await asyncio.gather(*tasks)
    assert sorted(inside) == list("aaabbb")
    assert len(of._turns) == 0


async def test_one_waiter_too_many_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "WAITERS_MAX", 2)
    of: Turns[str] = Turns()
    until, inside = asyncio.Event(), list[str]()
    tasks = [asyncio.create_task(held(of, "a", until, inside)) for _ in range(3)]
    await all_wait(tasks)
    with pytest.raises(Unavailable) as refused:
        await held(of, "a", until, inside)
    assert refused.value.code == "overloaded"
    until.set()
    await asyncio.gather(*tasks)
    await held(of, "a", until, inside)
    assert len(inside) == 4


async def test_everybody_who_waits_is_refused_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "WAIT_SECONDS", 0.05)
    of: Turns[str] = Turns()
    until, inside = asyncio.Event(), list[str]()
    tasks = [asyncio.create_task(held(of, "a", until, inside)) for _ in range(MANY)]
    async with asyncio.timeout(20 * 0.05):
        outcomes = await asyncio.gather(*tasks[1:], return_exceptions=True)
    assert [each.code for each in outcomes if isinstance(each, Unavailable)] == ["overloaded"] * 19
    until.set()
    await asyncio.gather(tasks[0], held(of, "a", until, inside))
    assert inside == ["a", "a"]


async def test_a_waiter_that_is_cancelled_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "WAITERS_MAX", 2)
    of: Turns[str] = Turns()
    until, inside = asyncio.Event(), list[str]()
    tasks = [asyncio.create_task(held(of, "a", until, inside)) for _ in range(3)]
    await all_wait(tasks)
    tasks[1].cancel()
    await asyncio.wait(tasks[1:2])
    tasks.append(asyncio.create_task(held(of, "a", until, inside)))
    await all_wait(tasks)
    until.set()
    await asyncio.gather(tasks[0], *tasks[2:])
    assert inside == ["a"] * 3
