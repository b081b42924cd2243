"""Answers that are sent while they are made: callers who leave, and callers who take nothing."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator

import pytest
from aiohttp import web

from service.http import streaming
from service.http.app import App, build_app
from service.http.server import serve
from service.http.streaming import streamed
from tests.support.api import request_metrics

DEADLINE_SECONDS = 10.0
CHUNK = b" " * 65_536
REQUEST = b"GET /endless HTTP/%b\r\nHost: x\r\n\r\n"


class Endless:
    """A page without an end, which tells when it was given up."""

    def __init__(self) -> None:
        self.is_over = asyncio.Event()

    def app(self) -> App:
        return build_app(request_metrics(), {"/endless": self.page})

    async def page(self, request: web.BaseRequest) -> web.StreamResponse:
        return await streamed(request, "request-1", self.chunks(), {})

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        try:
            while True:
                yield CHUNK
        finally:
            self.is_over.set()


async def test_a_caller_who_takes_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "WRITE_TIMEOUT_SECONDS", 0.1)
    endless = Endless()
    async with serve(endless.app(), "127.0.0.1", 0, shutdown_timeout_seconds=2) as port:
        with socket.create_connection(("127.0.0.1", port)) as caller:
            caller.sendall(REQUEST % b"1.1")
            async with asyncio.timeout(DEADLINE_SECONDS):
                await endless.is_over.wait()


async def test_nothing_is_made_for_a_caller_who_has_left() -> None:
    endless = Endless()
    async with serve(endless.app(), "127.0.0.1", 0, shutdown_timeout_seconds=2) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(REQUEST % b"1.1")
        async with asyncio.timeout(DEADLINE_SECONDS):
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            writer.transport.abort()
            await endless.is_over.wait()


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
async def test_only_what_ended_well_ends(version: bytes) -> None:
    """In chunks the end is said; in HTTP/1.0 it is the end of the connection."""

    async def page(request: web.BaseRequest) -> web.StreamResponse:
        async def chunks() -> AsyncGenerator[bytes, None]:
            yield b"[1"
            yield b",2]"

        return await streamed(request, "request-1", chunks(), {})

    app = build_app(request_metrics(), {"/endless": page})
    async with serve(app, "127.0.0.1", 0, shutdown_timeout_seconds=2) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write((REQUEST % version).replace(b"Host: x", b"Host: x\r\nConnection: close"))
        async with asyncio.timeout(DEADLINE_SECONDS):
            received = await reader.read()
        writer.close()
    body = received.partition(b"\r\n\r\n")[2]
    chunked = b"2\r\n[1\r\n3\r\n,2]\r\n0\r\n\r\n"
    assert body == (b"[1,2]" if version == b"1.0" else chunked)
