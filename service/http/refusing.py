"""Connections beyond those that are served: each is told so and let go, at next to no cost.

Invariants: what comes on such a connection is not looked at. The refusal is sent once the caller
has begun to speak, since what is said to one who still sends may get lost; a caller who does not
leave with it in time is cut off.
"""

from __future__ import annotations

import asyncio
from typing import cast

from aiohttp import hdrs
from typing_extensions import override

from service.http.correlation import X_REQUEST_ID, new_request_id
from service.http.problems import Refused, problem_response

REFUSED_AT_ONCE_MAX = 1_000  # beyond, and where files are short, a connection is closed at once
LEAVE_SECONDS = 5.0  # a busy caller takes a while to begin


class Refusals:
    """How many there are at once. Invariant: at most `most`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.count = 0

    @property
    def is_full(self) -> bool:
        return self.count >= self._most


class Refusing(asyncio.Protocol):
    """One such connection."""

    def __init__(self, refusals: Refusals) -> None:
        self._refusals = refusals
        self._transport: asyncio.Transport | None = None
        self._leaves: asyncio.TimerHandle | None = None
        self._is_told = False

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        is_full = self._refusals.is_full
        self._refusals.count += 1
        if is_full:
            self._transport.abort()
            return
        loop = asyncio.get_running_loop()
        self._leaves = loop.call_later(LEAVE_SECONDS, self._transport.abort)

    @override
    def data_received(self, data: bytes) -> None:
        if self._is_told or self._transport is None:
            return
        self._is_told = True
        self._transport.write(refusal())
        if self._transport.can_write_eof():
            self._transport.write_eof()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._refusals.count -= 1
        if self._leaves is not None:
            self._leaves.cancel()


def refusal() -> bytes:
    """A whole HTTP/1.1 answer."""
    request_id = new_request_id()
    response = problem_response(Refused("overloaded", "Too many connections are open."), request_id)
    body = response.body
    assert isinstance(body, bytes)
    headers = {
        **response.headers,
        X_REQUEST_ID: request_id,
        hdrs.CONTENT_LENGTH: str(len(body)),
        hdrs.CONNECTION: "close",
    }
    lines = [f"{name}: {value}" for name, value in headers.items()]
    head = "\r\n".join(["HTTP/1.1 503 Service Unavailable", *lines, "", ""])
    return head.encode() + body
