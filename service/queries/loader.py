"""Many callers, few fetches: what waits when a fetch returns is fetched together next.

Invariants: a fetch that answers a caller began after the caller asked, so nobody gets anything
older than their request. There is no timer: a lone caller waits for nothing. One of the callers
carries out the fetch, so there is no task to own; should it be cancelled, another takes over.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeAlias, TypeVar

from service.errors import CustomersError, Unavailable

WAITING_MAX = 10_000  # beyond this, callers are told to come back

Key = TypeVar("Key")
Value = TypeVar("Value")

# A value in a tuple, or None: it is this caller's turn to fetch.
_Answer: TypeAlias = "asyncio.Future[tuple[Value] | None]"


class Loader(Generic[Key, Value]):
    """`fetch` gets the keys of a batch and gives their values in the same order."""

    def __init__(
        self,
        fetch: Callable[[Sequence[Key]], Awaitable[Sequence[Value]]],
        *,
        batch_keys_max: int,
        batches_max: int = 1,
    ) -> None:
        self._fetch = fetch
        self._batch_keys_max = batch_keys_max
        self._turns_left = batches_max  # Invariant: nobody waits while a turn is left
        self._waiting: deque[tuple[Key, _Answer[Value]]] = deque()

    async def load(self, key: Key) -> Value:
        """The key's value as of now or later. Raises what `fetch` raises of our errors."""
        if self._turns_left:
            self._turns_left -= 1
            return await self._take_turn(key)
        if len(self._waiting) >= WAITING_MAX:
            raise Unavailable("overloaded", "Too many reads are waiting.")
        answer: _Answer[Value] = asyncio.get_running_loop().create_future()
        self._waiting.append((key, answer))
        try:
            found = await answer
        except asyncio.CancelledError:
            if _is_turn(answer):
                self._pass_on()  # it came together with the cancellation
            raise
        return await self._take_turn(key) if found is None else found[0]

    async def _take_turn(self, key: Key) -> Value:
        """Fetch this caller's key and what else waits; then pass the turn on, whatever happened."""
        keys = [key]
        answers: list[_Answer[Value]] = []
        try:
            await asyncio.sleep(0)  # who asks in this very round of the event loop joins in
            while self._waiting and len(keys) < self._batch_keys_max:
                waiting_key, answer = self._waiting.popleft()
                if not answer.done():
                    keys.append(waiting_key)
                    answers.append(answer)
            values = await self._fetch(keys)
            for answer, value in zip(answers, values[1:], strict=True):
                if not answer.done():
                    answer.set_result((value,))
            return values[0]
        except CustomersError as error:
            for answer in answers:
                if not answer.done():
                    answer.set_exception(error)
            raise
        finally:
            # Left without an answer only by a cancellation: they go first in the next batch.
            left = zip(keys[:0:-1], reversed(answers), strict=True)
            self._waiting.extendleft(each for each in left if not each[1].done())
            self._pass_on()

    def _pass_on(self) -> None:
        while self._waiting:
            _, answer = self._waiting.popleft()
            if not answer.done():
                answer.set_result(None)
                return
        self._turns_left += 1


def _is_turn(answer: _Answer[Value]) -> bool:
    if not answer.done() or answer.cancelled() or answer.exception() is not None:
        return False
    return answer.result() is None
