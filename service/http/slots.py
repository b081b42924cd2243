"""How many requests are at work at once, and what those hold that wait for their turn.

Invariants: at most IN_FLIGHT_MAX requests are at work on routes that take slots, and whoever waits
longer than WAIT_SECONDS is refused. Waiting costs no time of the processor, so clients that ask
again at once take nothing from those that are served; who waits is bounded by CONNECTIONS_MAX, and
bodies by BODIES_BYTES_MAX. A request takes its slot when it has arrived whole: slow senders hold
none.
"""

from __future__ import annotations

import asyncio

from service.http.problems import Refused

# In one process. The largest body takes about 1 MB when it is an event: this is 256 MB at worst.
IN_FLIGHT_MAX = 256
WAIT_SECONDS = 1.0  # for a slot; 256 requests of a usual kind take a tenth of that
BODIES_BYTES_MAX = 64 * 1024 * 1024  # of requests that are not answered yet: 256 of the largest


class Slots:
    """For the routes of one process that share them, or `count` of them for one that has its own.
    Entered, as a context, it gives a slot.

    Raises Refused `overloaded` where none becomes free in time.
    """

    def __init__(self, count: int | None = None) -> None:
        self._free = asyncio.Semaphore(IN_FLIGHT_MAX if count is None else count)
        self._bodies_bytes = 0

    async def __aenter__(self) -> None:
        if self._free.locked():
            await self._wait()
        else:
            await self._free.acquire()

    async def __aexit__(self, *_: object) -> None:
        self._free.release()

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self._free.acquire()
        except TimeoutError:
            raise Refused("overloaded", "Too many requests are being answered.") from None

    def hold(self, byte_count: int) -> None:
        """Count what has arrived of a body. Raises Refused `overloaded`, and counts nothing."""
        if self._bodies_bytes + byte_count > BODIES_BYTES_MAX:
            raise Refused("overloaded", "Too many bodies are arriving.")
        self._bodies_bytes += byte_count

    def let_go(self, byte_count: int) -> None:
        self._bodies_bytes -= byte_count


class Held:
    """What one request holds of its body; everything is let go at the end of the block."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._byte_count = 0

    def __enter__(self) -> Held:
        return self

    def __exit__(self, *_: object) -> None:
        self._slots.let_go(self._byte_count)

    def add(self, byte_count: int) -> None:
        """Raises Refused `overloaded`."""
        self._slots.hold(byte_count)
        self._byte_count += byte_count
