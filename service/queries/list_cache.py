"""Finished lists, kept for the very short time in which they are still true.

Invariants: what is kept was read at one mark of the read model; whoever is answered from it has
asked for the mark after their request arrived, and it was that mark. Bounded in bytes, and in time
because lists hold personal data: everything is forgotten when the mark moves, and seconds later at
the latest.
"""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

from service.queries.list_answer import Listed
from service.queries.progress import Mark

KEPT_BYTES_MAX = 16 * 1024 * 1024
KEPT_SECONDS_MAX = 5.0

Key = TypeVar("Key")


class ListCache(Generic[Key]):
    """Lists by their request, all of one mark."""

    def __init__(self, bytes_max: int = KEPT_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._lists: dict[Key, Listed] = {}
        self._bytes = 0
        self._mark: Mark | None = None
        self._forgetting: asyncio.TimerHandle | None = None

    def __contains__(self, key: Key) -> bool:
        return key in self._lists

    def get(self, key: Key, mark: Mark) -> Listed | None:
        """The list, if it was read at this mark."""
        return self._lists.get(key) if mark == self._mark else None

    def put(self, key: Key, mark: Mark, listed: Listed) -> None:
        """Keep a list that was read at this mark; older marks' lists are forgotten."""
        if mark != self._mark:
            if self._mark is not None and _is_older(mark, self._mark):
                return
            self.forget()
            self._mark = mark
        before = self._lists.pop(key, None)
        self._bytes += len(listed.body) - (len(before.body) if before else 0)
        if self._bytes > self._bytes_max:
            self.forget()
            return
        self._lists[key] = listed
        if self._forgetting is None:
            loop = asyncio.get_running_loop()
            self._forgetting = loop.call_later(KEPT_SECONDS_MAX, self.forget)

    def forget(self) -> None:
        """Let go of everything."""
        self._lists.clear()
        self._bytes = 0
        self._mark = None
        if self._forgetting is not None:
            self._forgetting.cancel()
            self._forgetting = None


def _is_older(mark: Mark, kept: Mark) -> bool:
    """A statement that took long may come back with a mark from before."""
    return mark.version == kept.version and mark.positions_total < kept.positions_total
