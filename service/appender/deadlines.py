"""Until when each command may wait for its answer.

Invariant: one timer serves all who wait, and none runs while nobody does. A timer for each caller
costs a fiftieth of a whole write.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from service.appender.queue import Member

WRITE_TIMEOUT_SECONDS = 8.0  # from joining the queue to an answer
LOOK_SECONDS = 0.25  # between two looks at who has waited for too long


class Deadlines:
    """`give_up` is called with whoever is not answered in time; at most LOOK_SECONDS late."""

    def __init__(self, give_up: Callable[[Member], None]) -> None:
        self._give_up = give_up
        # Invariant: in the order of the deadlines, which is that of joining.
        self._due: dict[Member, float] = {}
        self._is_looking = False

    def wait(self, member: Member) -> None:
        """From now on, for WRITE_TIMEOUT_SECONDS."""
        loop = asyncio.get_running_loop()
        self._due[member] = loop.time() + WRITE_TIMEOUT_SECONDS
        if not self._is_looking:
            self._is_looking = True
            loop.call_later(LOOK_SECONDS, self._look)

    def forget(self, member: Member) -> None:
        """Answered, or gone."""
        del self._due[member]

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for member, due in self._due.items():
            if due > now:
                break
            self._give_up(member)
        self._is_looking = bool(self._due)
        if self._is_looking:
            loop.call_later(LOOK_SECONDS, self._look)
