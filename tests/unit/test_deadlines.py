"""Who waits for a write is told in time that it was not confirmed, and nobody else is."""

import asyncio

import pytest

from service.appender import deadlines
from service.appender.deadlines import Deadlines
from service.appender.queue import Member, member_of
from service.event_log import Append
from service.events import Actor, CustomerDeactivated, Meta, Version
from service.identifiers import CustomerId

META = Meta(actor=Actor(type="system", id="test"), request_id="r")
LIMIT_SECONDS = 0.1


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadlines, "WRITE_TIMEOUT_SECONDS", LIMIT_SECONDS)
    monkeypatch.setattr(deadlines, "LOOK_SECONDS", 0.02)


def a_member() -> Member:
    append = Append("default", CustomerId("cust_1"), Version(1), (CustomerDeactivated(),), META)
    return member_of(append, None)


async def given_up(late: asyncio.Queue[Member]) -> Member:
    async with asyncio.timeout(5):
        return await late.get()


async def test_whoever_waits_for_too_long_is_given_up_in_the_order_of_joining() -> None:
    late: asyncio.Queue[Member] = asyncio.Queue()
    waiting = Deadlines(late.put_nowait)
    loop = asyncio.get_running_loop()
    started = loop.time()
    first, answered, last = a_member(), a_member(), a_member()
    for member in (first, answered, last):
        waiting.wait(member)
    waiting.forget(answered)
    assert await given_up(late) is first
    assert loop.time() - started >= LIMIT_SECONDS
    waiting.forget(first)
    assert await given_up(late) is last


async def test_the_next_is_watched_although_nobody_waited_for_a_while() -> None:
    late: asyncio.Queue[Member] = asyncio.Queue()
    waiting = Deadlines(late.put_nowait)
    for _ in range(2):
        member = a_member()
        waiting.wait(member)
        assert await given_up(late) is member
        waiting.forget(member)
        assert late.empty()
