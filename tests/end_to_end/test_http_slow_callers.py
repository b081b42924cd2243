"""Callers who are slow, or do nothing at all: each is cut off at its limit, and makes room."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

import pytest
from aiohttp import web

from service.http import bodies, server
from service.http.app import App, build_app
from service.http.server import serve
from tests.end_to_end.test_http_server import head, port_of
from tests.support.api import request_metrics, running_api
from tests.support.topics import eventually

DEADLINE_SECONDS = 15.0
ONE_REQUEST = b"GET /none HTTP/1.1\r\nHost: x\r\n\r\n"
LARGE = b" " * 8_000_000  # more than the system keeps for a connection


def an_app() -> App:
    async def page(_: web.BaseRequest) -> web.Response:
        return web.Response(body=LARGE)

    return build_app(request_metrics(), {"/large": page})


async def is_cut_off(reader: asyncio.StreamReader) -> bytes:
    """What came until the connection ended."""
    received = b""
    async with asyncio.timeout(DEADLINE_SECONDS):
        with suppress(ConnectionError):
            while chunk := await reader.read(65_536):
                received += chunk
    return received


async def test_a_body_that_comes_a_byte_at_a_time_is_refused_at_its_limit(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "BODY_TIMEOUT_SECONDS", 0.5)
    async with running_api(database) as api:
        lines = ("Content-Type: application/json", "Content-Length: 1000")
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(api))
        writer.write(head(api, "POST", "/user", *lines))
        answer = asyncio.create_task(reader.readline())
        while not answer.done():
            writer.write(b"{")
            await asyncio.wait([answer], timeout=0.05)
        assert (await answer).startswith(b"HTTP/1.1 408")
        assert api.app.in_flight == 0
        writer.transport.abort()


@pytest.mark.parametrize("connection", [b"keep-alive", b"close"])
async def test_an_answer_that_nobody_takes_is_cut_off_and_makes_room(
    monkeypatch: pytest.MonkeyPatch, connection: bytes
) -> None:
    monkeypatch.setattr(server, "UNREAD_SECONDS", 1.0)
    monkeypatch.setattr(server, "CONNECTIONS_MAX", 1)
    async with serve(an_app(), "127.0.0.1", 0, shutdown_timeout_seconds=2) as port:

        async def has_room() -> bool:
            return (await status(port)).startswith(b"HTTP/1.1 404")

        with socket.create_connection(("127.0.0.1", port)) as caller:
            caller.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: %b\r\n\r\n" % connection)
            assert await asyncio.to_thread(caller.recv, 12) == b"HTTP/1.1 200"
            assert not await has_room()
            await eventually(has_room, DEADLINE_SECONDS)


async def status(port: int) -> bytes:
    """Of the answer to one request on a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"GET /none HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return await reader.readline()
    finally:
        writer.transport.abort()


async def test_connections_that_say_nothing_or_half_a_head_are_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "KEEPALIVE_SECONDS", 0.5)
    async with serve(an_app(), "127.0.0.1", 0, shutdown_timeout_seconds=2) as port:
        opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        for (_, writer), said in zip(opened, (b"", b"GET /li", ONE_REQUEST), strict=True):
            writer.write(said)
        ends = [await is_cut_off(reader) for reader, _ in opened]
        assert [each[:12] for each in ends] == [b"", b"", b"HTTP/1.1 404"]
        for _, writer in opened:
            writer.close()
