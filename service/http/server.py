"""Puts an App behind a port, and takes it away again without cutting anybody off.

Invariants: after a stop is asked for, whatever was accepted is answered: new connections are
refused, every answer says `Connection: close`, and requests in flight have until the deadline. At
most CONNECTIONS_MAX connections are served; beyond, new ones are refused. A caller who takes
nothing of what was sent is cut off.
"""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import structlog
from aiohttp import web
from typing_extensions import override

from service.errors import ConfigurationError
from service.http.app import App
from service.http.correlation import X_REQUEST_ID, new_request_id
from service.http.problems import Refused, problem_response
from service.http.refusing import REFUSED_AT_ONCE_MAX, Refusals, Refusing

# Of one process: below the 1,024 files that many systems allow it, so that accepting never fails.
# An idle one leaves after KEEPALIVE_SECONDS and makes room.
CONNECTIONS_MAX = 960
BACKLOG_CONNECTIONS = 1_024  # waiting to be accepted
KEEPALIVE_SECONDS = 75.0  # also the time that the head of a request may take to arrive
LINGERING_SECONDS = 5.0  # a refused body is read off for so long, so that the refusal is seen
HEADER_BYTES_MAX = 8_190  # of the request line, and of one header
HEADERS_MAX = 128
LAME_DUCK_SECONDS = 0.5  # idle connections are kept for so long: a request may be on its way
FORCED_CLOSE_SECONDS = 0.5  # for answers that are made but not written yet
POLL_SECONDS = 0.01
SETTLING_SECONDS = 0.05  # in which a connection that was accepted comes to be counted
UNREAD_SECONDS = 30.0  # for which a caller may take nothing of an answer, or not acknowledge it
OTHER_FILES = 60  # of the process: links to the database, the listening sockets, logs


class _Protocol(web.RequestHandler):
    """Answers what is not HTTP in the form of every other refusal, and logs none of its bytes."""

    __slots__ = ("_server",)

    def __init__(self, server: web.Server) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=KEEPALIVE_SECONDS,
            lingering_time=LINGERING_SECONDS,
            max_line_size=HEADER_BYTES_MAX,
            max_field_size=HEADER_BYTES_MAX,
            max_headers=HEADERS_MAX,
            auto_decompress=False,
            access_log=None,  # type: ignore[arg-type]  # aiohttp's way to switch it off
        )
        self._server = server

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        _cut_off_when_unread(transport)

    @override
    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun already")
        if status >= 500:
            structlog.get_logger().error("request_failed", exc_info=exc)
        request_id = new_request_id()
        refusal = Refused("internal_error" if status >= 500 else "bad_request")
        response = problem_response(refusal, request_id)
        response.headers[X_REQUEST_ID] = request_id
        response.force_close()
        return response


def _cut_off_when_unread(transport: asyncio.BaseTransport) -> None:
    """By the system, and so also when we have closed the connection and it is still to be emptied.
    Only Linux can (RFC 5482; since 5.11 for a caller whose window is closed, too)."""
    connection: socket.socket | None = transport.get_extra_info("socket")
    option: int | None = getattr(socket, "TCP_USER_TIMEOUT", None)
    if connection is not None and option is not None:
        with suppress(OSError):  # it has left already
            connection.setsockopt(socket.IPPROTO_TCP, option, round(UNREAD_SECONDS * 1_000))


class _Server(web.Server):
    """Makes the protocol of each connection."""

    def __init__(self, app: App) -> None:
        super().__init__(app.handler)
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        left = files - CONNECTIONS_MAX - OTHER_FILES
        self._refusals = Refusals(max(0, min(REFUSED_AT_ONCE_MAX, left)))

    def protocol(self) -> asyncio.Protocol:
        if len(self.connections) >= CONNECTIONS_MAX:
            return Refusing(self._refusals)
        return _Protocol(self)


def allow_files() -> None:
    """Let this process open as many files as its limits on connections ask for, where it may."""
    wanted = CONNECTIONS_MAX + REFUSED_AT_ONCE_MAX + OTHER_FILES
    files, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files < wanted:
        allowed = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, most))


@asynccontextmanager
async def serve(
    app: App, host: str, port: int, *, shutdown_timeout_seconds: float, reuse_port: bool = False
) -> AsyncIterator[int]:
    """Serve while the block runs; the port, which is a free one where `port` is 0.

    `reuse_port` lets several processes share the port. Raises ConfigurationError where the port
    cannot be had.
    """
    server = _Server(app)
    runner = web.ServerRunner(server, shutdown_timeout=FORCED_CLOSE_SECONDS)
    await runner.setup()
    try:
        listening = await _listen(server, host, port, reuse_port=reuse_port)
        held = [socket.socket(fileno=os.dup(each.fileno())) for each in listening.sockets]
        try:
            yield held[0].getsockname()[1]
        finally:
            app.is_draining = True
            listening.close()
            await _take_last(held, server)
            await _drain(app, server, shutdown_timeout_seconds - 2 * FORCED_CLOSE_SECONDS)
    finally:
        await runner.cleanup()


async def _listen(server: _Server, host: str, port: int, *, reuse_port: bool) -> asyncio.Server:
    """Raises ConfigurationError."""
    try:
        return await asyncio.get_running_loop().create_server(
            server.protocol, host, port, backlog=BACKLOG_CONNECTIONS, reuse_port=reuse_port or None
        )
    except OSError as error:
        reason = error.strerror or "the address cannot be used"
        raise ConfigurationError(f"Cannot listen on {host}:{port}: {reason}.") from error


async def _take_last(held: Sequence[socket.socket], server: _Server) -> None:
    """Close the listening sockets, but not on those who are connected and not accepted yet.

    The kernel would reset them. With `reuse_port` they are many: a worker that stops first sends
    its callers to the others.
    """
    taken: list[socket.socket] = []
    for listener in held:
        with listener, suppress(OSError):  # nobody is left, or nobody else can be taken
            listener.setblocking(False)
            for _ in range(BACKLOG_CONNECTIONS):
                taken.append(listener.accept()[0])  # noqa: PERF401 - what came before an error counts
    for connection in taken:
        connection.setblocking(False)
        with suppress(OSError):  # it has left already
            await asyncio.get_running_loop().connect_accepted_socket(server.protocol, connection)


async def _drain(app: App, server: web.Server, timeout_seconds: float) -> None:
    """Wait for requests in flight, and a moment for those on their way."""
    now = time.monotonic()
    deadline = now + timeout_seconds
    # Who was accepted last is among the connections only after a turn of the loop or two.
    settled_at = now + SETTLING_SECONDS
    duck_until = min(deadline, now + LAME_DUCK_SECONDS)
    while now < settled_at or (
        server.connections and (now < duck_until or (app.in_flight and now < deadline))
    ):
        await asyncio.sleep(POLL_SECONDS)
        now = time.monotonic()
