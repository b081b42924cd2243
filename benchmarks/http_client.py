"""A client for a steady load: cheap, so that the machine's time goes to what is measured.

Invariant: one request at a time on a connection, so an answer is the last request's.
"""

from __future__ import annotations

import asyncio
import re
from typing import NamedTuple, cast

from typing_extensions import override

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_POSITION = re.compile(rb"\r\nlog-position: *(\d+)", re.IGNORECASE)
ANSWER_TIMEOUT_SECONDS = 10.0
EXPIRY_LOOK_SECONDS = 1.0  # one look at all connections costs less than a timer for each request
CONNECTIONS_MAX = 128


class Answer(NamedTuple):
    status: int
    position: int  # Log-Position; 0 = none was given
    body: bytes


class Connection(asyncio.Protocol):
    """A connection that is kept alive."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._answer: asyncio.Future[Answer] | None = None
        self.expires_at = 0.0  # of the answer, by the loop's clock

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    @override
    def data_received(self, data: bytes) -> None:
        self._received += data
        head, blank, body = self._received.partition(b"\r\n\r\n")
        if not blank or self._answer is None:
            return
        length = _LENGTH.search(head)
        if len(body) < (int(length[1]) if length else 0):
            return
        position = _POSITION.search(head)
        answer = Answer(int(head[9:12]), int(position[1]) if position else 0, body)
        self._received = b""
        waiting, self._answer = self._answer, None
        if not waiting.done():
            waiting.set_result(answer)

    @override
    def connection_lost(self, error: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error or ConnectionResetError("closed by the server"))

    async def send(self, request: bytes) -> Answer:
        assert self._transport is not None
        assert self._answer is None, "one request at a time"
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answer] = loop.create_future()
        self._answer = answer
        self.expires_at = loop.time() + ANSWER_TIMEOUT_SECONDS
        self._transport.write(request)
        return await answer

    def expire(self, now: float) -> None:
        """Give up an answer that is due; TimeoutError for whoever waits for it."""
        if self._answer is not None and not self._answer.done() and now >= self.expires_at:
            self._answer.set_exception(TimeoutError())

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class Connections:
    """Connections that are used by turns; who finds none idle, waits for one."""

    def __init__(self, host: str, port: int, token: str) -> None:
        self._host = host
        self._port = port
        self._head = f"Host: {host}\r\nAuthorization: Bearer {token}\r\n"
        self._turns = asyncio.Semaphore(CONNECTIONS_MAX)
        self._idle: list[Connection] = []
        self._all: list[Connection] = []
        self._look: asyncio.TimerHandle | None = None

    async def call(
        self, method: str, path: str, body: bytes = b"", key: str | None = None
    ) -> Answer:
        head = f"{method} {path} HTTP/1.1\r\n{self._head}"
        if body:
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        if key is not None:
            head += f"Idempotency-Key: {key}\r\n"
        async with self._turns:
            connection = self._idle.pop() if self._idle else await self._connect()
            answer = await connection.send(head.encode() + b"\r\n" + body)
            self._idle.append(connection)
        return answer

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(Connection, self._host, self._port)
        self._all.append(connection)
        if self._look is None:
            self._expire()
        return connection

    def _expire(self) -> None:
        loop = asyncio.get_running_loop()
        for connection in self._all:
            connection.expire(loop.time())
        self._look = loop.call_later(EXPIRY_LOOK_SECONDS, self._expire)

    def close(self) -> None:
        if self._look is not None:
            self._look.cancel()
        for connection in self._all:
            connection.close()
