"""Loads that share a fetch: who waits for what, and who carries on when somebody gives up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

from service.errors import Unavailable
from service.queries import loader
from service.queries.loader import Loader


class Fetches:
    """A fetch that answers when it is let go on, and notes the keys of every batch."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.error: Exception | None = None
        self.just_before_the_answer: Callable[[], object] = lambda: None
        self.began = asyncio.Condition()
        self._may_answer = asyncio.Semaphore(0)

    async def __call__(self, keys: Sequence[int]) -> list[str]:
        async with self.began:
            self.batches.append(list(keys))
            self.began.notify_all()
        await self._may_answer.acquire()
        asyncio.get_running_loop().call_soon(self.just_before_the_answer)
        if self.error is not None:
            raise self.error
        return [f"value {key}" for key in keys]

    async def until(self, batches: int) -> None:
        """Return when so many have begun."""
        async with asyncio.timeout(5), self.began:
            await self.began.wait_for(lambda: len(self.batches) >= batches)

    def go_on(self, batches: int = 1) -> None:
        for _ in range(batches):
            self._may_answer.release()


def loads(of: Loader[int, str], *keys: int) -> list[asyncio.Task[str]]:
    return [asyncio.create_task(of.load(key)) for key in keys]


async def turns_of_the_loop(number: int = 5) -> None:
    """Let tasks that were made get to where they wait."""
    for _ in range(number):
        await asyncio.sleep(0)


async def test_who_asks_during_a_fetch_is_fetched_together_next() -> None:
    fetches = Fetches()
    shared = Loader(fetches, batch_keys_max=10)
    first = loads(shared, 1)
    await fetches.until(1)
    later = loads(shared, 2, 3, 2)
    await turns_of_the_loop()
    fetches.go_on(2)
    assert await asyncio.gather(*first, *later) == ["value 1", "value 2", "value 3", "value 2"]
    assert fetches.batches == [[1], [2, 3, 2]]


async def test_who_asks_in_the_same_moment_shares_the_first_fetch() -> None:
    fetches = Fetches()
    fetches.go_on()
    asked = loads(Loader(fetches, batch_keys_max=10), 1, 2, 3)
    assert await asyncio.gather(*asked) == ["value 1", "value 2", "value 3"]
    assert fetches.batches == [[1, 2, 3]]


async def test_a_batch_has_a_limit() -> None:
    fetches = Fetches()
    fetches.go_on(3)
    asked = loads(Loader(fetches, batch_keys_max=2), 1, 2, 3, 4, 5)
    assert await asyncio.gather(*asked) == [f"value {key}" for key in (1, 2, 3, 4, 5)]
    assert fetches.batches == [[1, 2], [3, 4], [5]]


async def test_several_fetches_may_be_in_flight_and_no_more() -> None:
    fetches = Fetches()
    shared = Loader(fetches, batch_keys_max=1, batches_max=2)
    asked = loads(shared, 1, 2, 3)
    await fetches.until(2)
    await turns_of_the_loop()
    assert fetches.batches == [[1], [2]]
    fetches.go_on()
    await fetches.until(3)
    fetches.go_on(2)
    await asyncio.gather(*asked)
    assert await _is_free(shared, fetches, turns=2)


async def _is_free(shared: Loader[int, str], fetches: Fetches, *, turns: int) -> bool:
    """Whether so many callers get a turn at once, as at the beginning."""
    begun = len(fetches.batches)
    asked: list[asyncio.Task[str]] = []
    for turn in range(turns):
        asked += loads(shared, 90 + turn)
        await fetches.until(begun + turn + 1)
    fetches.go_on(turns)
    await asyncio.gather(*asked)
    return len(fetches.batches) == begun + turns


async def test_a_caller_who_waits_may_give_up() -> None:
    fetches = Fetches()
    shared = Loader(fetches, batch_keys_max=10)
    first = loads(shared, 1)
    await fetches.until(1)
    kept, given_up, also_kept = loads(shared, 2, 3, 4)
    await turns_of_the_loop()
    given_up.cancel()
    fetches.go_on(2)
    assert await asyncio.gather(*first, kept, also_kept) == ["value 1", "value 2", "value 4"]
    assert given_up.cancelled()
    assert fetches.batches == [[1], [2, 4]]


async def test_when_the_one_who_fetches_gives_up_the_others_are_fetched_by_another() -> None:
    fetches = Fetches()
    shared = Loader(fetches, batch_keys_max=10)
    fetching, *others = loads(shared, 1, 2, 3)
    await fetches.until(1)
    later = loads(shared, 4)
    await turns_of_the_loop()
    fetching.cancel()
    fetches.go_on()
    assert await asyncio.gather(*others, *later) == ["value 2", "value 3", "value 4"]
    assert fetching.cancelled()
    assert fetches.batches == [[1, 2, 3], [2, 3, 4]]
    assert await _is_free(shared, fetches, turns=1)


async def test_a_turn_that_comes_together_with_a_cancellation_is_passed_on() -> None:
    fetches = Fetches()
    shared = Loader(fetches, batch_keys_max=1)
    fetching, next_one, last = loads(shared, 1, 2, 3)
    await fetches.until(1)
    await turns_of_the_loop()
    fetches.just_before_the_answer = next_one.cancel
    fetches.go_on(2)
    assert await asyncio.gather(fetching, last) == ["value 1", "value 3"]
    assert next_one.cancelled()
    assert fetches.batches == [[1], [3]]
    assert await _is_free(shared, fetches, turns=1)


async def test_an_error_reaches_all_who_were_in_the_batch_and_nobody_after() -> None:
    fetches = Fetches()
    shared = Loader(fetches, batch_keys_max=2)
    failing = loads(shared, 1, 2)
    await fetches.until(1)
    later = loads(shared, 3)
    await turns_of_the_loop()
    fetches.error = Unavailable("database_unavailable", "The database is down.")
    fetches.go_on()
    for found in await asyncio.gather(*failing, return_exceptions=True):
        assert found is fetches.error
    fetches.error = None
    fetches.go_on()
    assert await later[0] == "value 3"
    assert await _is_free(shared, fetches, turns=1)


async def test_an_error_that_comes_together_with_a_cancellation_does_not_eat_it() -> None:
    fetches = Fetches()
    shared = Loader(fetches, batch_keys_max=2)
    fetching, cancelled = loads(shared, 1, 2)
    await fetches.until(1)
    fetches.just_before_the_answer = cancelled.cancel
    fetches.error = Unavailable("database_unavailable", "The database is down.")
    fetches.go_on()
    await asyncio.wait([fetching, cancelled])
    assert fetching.exception() is fetches.error
    assert cancelled.cancelled()


async def test_too_many_who_wait_are_told_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "WAITING_MAX", 3)
    fetches = Fetches()
    shared = Loader(fetches, batch_keys_max=10)
    asked = loads(shared, 1)
    await fetches.until(1)
    asked += loads(shared, 2, 3, 4)
    await turns_of_the_loop()
    with pytest.raises(Unavailable) as refused:
        await shared.load(5)
    assert refused.value.code == "overloaded"
    fetches.go_on(2)
    assert len(await asyncio.gather(*asked)) == 4
    assert fetches.batches == [[1], [2, 3, 4]]
