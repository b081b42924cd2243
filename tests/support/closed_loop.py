"""Callers who ask again as soon as they are answered, refused or cut off: a closed loop.

Invariant: one request at a time on a connection, and every answer is counted by its status; a
caller whose connection was closed opens another one at once, whatever it was told to wait.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from urllib.parse import urlsplit

ANSWER_TIMEOUT_SECONDS = 30.0
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_RETRY_AFTER = re.compile(rb"\r\nretry-after: *(\d+)\r\n", re.IGNORECASE)


@dataclass
class Seen:
    """What callers saw."""

    seconds: float
    began: float
    statuses: Counter[int] = field(default_factory=Counter)  # of all answers
    counted: Counter[int] = field(default_factory=Counter)  # of those in time
    without_retry_after: int = 0  # 503s that did not say when to come back
    cut_off: int = 0  # requests without an answer

    @property
    def successes_per_second(self) -> float:
        return sum(count for status, count in self.counted.items() if status < 300) / self.seconds


class Callers:
    """`request` makes a whole request; each is another one."""

    def __init__(self, url: str, request: Callable[[], bytes]) -> None:
        parts = urlsplit(url)
        self._address = parts.hostname or "", parts.port or 0
        self._request = request

    async def ask(self, count: int, seconds: float, *, warm_seconds: float = 0.0) -> Seen:
        """So many callers, counted for so long after a while that only has to be endured; who
        waits at the end gets its answer."""
        began = monotonic() + warm_seconds
        seen = Seen(seconds, began)
        until = began + seconds
        async with asyncio.TaskGroup() as group:
            for _ in range(count):
                group.create_task(self._keep_asking(seen, until))
        return seen

    async def _keep_asking(self, seen: Seen, until: float) -> None:
        while monotonic() < until:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                reader, writer = await asyncio.open_connection(*self._address)
                try:
                    await self._on_one_connection(reader, writer, seen, until)
                finally:
                    writer.transport.abort()
                continue
            seen.cut_off += 1

    async def _on_one_connection(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Seen, until: float
    ) -> None:
        is_kept = True
        while is_kept and monotonic() < until:
            writer.write(self._request())
            async with asyncio.timeout(ANSWER_TIMEOUT_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                length = _LENGTH.search(head)
                await reader.readexactly(int(length[1]) if length else 0)
            status = int(head[9:12])
            seen.statuses[status] += 1
            if seen.began <= monotonic() < until:
                seen.counted[status] += 1
            if status == 503 and not _RETRY_AFTER.search(head):
                seen.without_retry_after += 1
            is_kept = b"onnection: close" not in head


def http_request(method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: x", *(f"{k}: {v}" for k, v in headers.items())]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body
