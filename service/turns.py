"""One at a time for each key, and nobody waits for long.

Invariant: of those who take a key's turn, one is inside. Who would be one waiter too many, or has
waited for too long, is told to come back: a queue that moves slowly, as in an outage, ends in
seconds and not after every one of its members has failed in turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

from service.errors import Unavailable

WAITERS_MAX = 100  # of one key; at 10 ms a turn the last of them waits a second
WAIT_SECONDS = 3.0

Key = TypeVar("Key", bound=Hashable)


@dataclass(slots=True, weakref_slot=True, eq=False)
class _Turn:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiters: int = 0


class Turns(Generic[Key]):
    """Remembers a key only while somebody is inside or waits."""

    def __init__(self) -> None:
        self._turns: WeakValueDictionary[Key, _Turn] = WeakValueDictionary()

    @asynccontextmanager
    async def take(self, key: Key) -> AsyncIterator[None]:
        """Be the one inside for the length of the block. Raises Unavailable `overloaded`."""
        turn = self._turns.get(key)
        if turn is None:
            turn = self._turns[key] = _Turn()
        if turn.waiters >= WAITERS_MAX:
            raise Unavailable("overloaded", "Too many writes wait for the same customer.")
        turn.waiters += 1
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await turn.lock.acquire()
        except TimeoutError as error:
            raise Unavailable("overloaded", "Writes to the same customer take long.") from error
        finally:
            turn.waiters -= 1
        try:
            yield
        finally:
            turn.lock.release()
