"""The server under the API: what is not HTTP, slow and vanished callers, starting and stopping."""

import asyncio
import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from service.errors import ConfigurationError
from service.http import bodies, server
from service.http.app import App, build_app
from service.http.call import Page, json_response
from service.http.operations import operations_pages
from service.http.server import serve
from service.postgres import Postgres
from service.telemetry import Readiness
from tests.support.api import Api, request_metrics

DEADLINE_SECONDS = 10.0


def port_of(api: Api) -> int:
    return int(api.url.rpartition(":")[2])


async def exchange(port: int, sent: bytes) -> bytes:
    """What the server answers to these bytes until it closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    async with asyncio.timeout(DEADLINE_SECONDS):
        received = await reader.read()
    writer.close()
    return received


def head(api: Api, method: str, path: str, *lines: str) -> bytes:
    every = [f"{method} {path} HTTP/1.1", "Host: x", "Connection: close",
             f"Authorization: Bearer {api.token}", *lines]  # fmt: skip
    return "\r\n".join([*every, "", ""]).encode()


@pytest.mark.parametrize(
    "sent",
    [
        b"garbage\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /user HTTP/1.1\r\nX: " + b"a" * 9000 + b"\r\n\r\n",
        b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"".join(b"X%d: a\r\n" % n for n in range(200)) + b"\r\n",
        b"POST /user HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /user HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET /user?q=é HTTP/1.1\r\nHost: x\r\n\r\n".encode(),
    ],
)
async def test_what_is_not_http_is_a_problem_too(api: Api, sent: bytes) -> None:
    received = await exchange(port_of(api), sent)
    assert b" 400 " in received.partition(b"\r\n")[0]
    assert b"application/problem+json" in received
    assert b'"code":"bad_request"' in received
    assert b"aiohttp" not in received.lower()


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("http://elsewhere.example/livez", b"200"),
        ("*", b"400"),
        ("/livez#x", b"200"),
        ("//livez", b"404"),
    ],
)
async def test_targets_of_other_forms(api: Api, target: str, status: bytes) -> None:
    received = await exchange(port_of(api), head(api, "GET", target))
    assert received.startswith((b"HTTP/1.1 " + status, b"HTTP/1.0 " + status))


async def test_a_body_may_come_in_chunks(api: Api) -> None:
    body = b"1b\r\n" + b'{"email":"jane@example.com"' + b"\r\n1\r\n}\r\n0\r\n\r\n"
    lines = ("Content-Type: application/json", "Transfer-Encoding: chunked")
    received = await exchange(port_of(api), head(api, "POST", "/user", *lines) + body)
    assert received.startswith(b"HTTP/1.1 201")


async def test_an_endless_body_is_refused_when_it_is_too_large(api: Api) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(api))
    writer.write(
        head(api, "POST", "/user", "Content-Type: application/json", "Transfer-Encoding: chunked")
    )
    for _ in range(5):
        writer.write(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
    async with asyncio.timeout(DEADLINE_SECONDS):
        status = await reader.readline()
    writer.close()
    assert status.startswith(b"HTTP/1.1 413")


async def test_a_caller_who_waits_to_be_asked_is_asked(api: Api) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(api))
    body = b'{"email":"jane@example.com"}'
    lines = ("Content-Type: application/json", f"Content-Length: {len(body)}")
    writer.write(head(api, "POST", "/user", *lines, "Expect: 100-continue"))
    async with asyncio.timeout(DEADLINE_SECONDS):
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(body)
        assert (await reader.readline()).startswith(b"HTTP/1.1 201")
    writer.close()


async def test_who_is_not_let_in_is_not_asked_for_a_body(api: Api) -> None:
    lines = ("Content-Type: application/json", "Content-Length: 9", "Expect: 100-continue")
    received = head(api.with_token("x"), "POST", "/user", *lines)
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(api))
    writer.write(received)
    async with asyncio.timeout(DEADLINE_SECONDS):
        assert (await reader.readline()).startswith(b"HTTP/1.1 401")
    writer.close()


async def test_a_body_that_does_not_arrive(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODY_TIMEOUT_SECONDS", 0.05)
    monkeypatch.setattr(server, "LINGERING_SECONDS", 0.05)
    lines = ("Content-Type: application/json", "Content-Length: 9")
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(api))
    writer.write(head(api, "POST", "/user", *lines) + b"{")
    async with asyncio.timeout(DEADLINE_SECONDS):
        assert (await reader.readline()).startswith(b"HTTP/1.1 408")
    writer.close()


WAITING_APPENDS = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"


async def test_a_write_is_done_though_its_caller_has_left(api: Api, database: str) -> None:
    body = b'{"email":"jane@example.com"}'
    lines = ("Content-Type: application/json", f"Content-Length: {len(body)}")
    async with Postgres.connect(database) as postgres:
        async with postgres.transaction() as transaction:
            await transaction.execute("SELECT pg_advisory_xact_lock(7305002)")  # stops appends
            _, writer = await asyncio.open_connection("127.0.0.1", port_of(api))
            writer.write(head(api, "POST", "/user", *lines) + body)
            async with asyncio.timeout(DEADLINE_SECONDS):
                while await postgres.fetch_one(int, WAITING_APPENDS) == 0:
                    pass
            writer.transport.abort()
        async with asyncio.timeout(DEADLINE_SECONDS):
            while (await api.get("/user")).json["count"] == 0:
                pass


class SlowPage:
    """A page that answers when it is told to."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.go_on = asyncio.Event()

    async def __call__(self, _: web.BaseRequest) -> web.StreamResponse:
        self.entered.set()
        await self.go_on.wait()
        return json_response(200, b'"done"', {})


async def failing_page(_: web.BaseRequest) -> web.StreamResponse:
    raise ZeroDivisionError("jane@example.com")


def app_with(**pages: Page) -> App:
    return build_app(request_metrics(), {f"/{name}": page for name, page in pages.items()})


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
        yield session


async def test_a_request_in_flight_is_answered_before_the_end(
    session: aiohttp.ClientSession,
) -> None:
    page = SlowPage()
    async with serve(app_with(slow=page), "127.0.0.1", 0, shutdown_timeout_seconds=10) as port:
        url = f"http://127.0.0.1:{port}/slow"
        asking = asyncio.create_task(session.get(url))
        await page.entered.wait()
        asyncio.get_running_loop().call_later(0.1, page.go_on.set)
    response = await asking
    assert (response.status, await response.read()) == (200, b'"done"')
    assert response.headers["Connection"] == "close"
    with pytest.raises(aiohttp.ClientConnectorError):
        await session.get(url)


async def test_what_does_not_end_is_cut_at_the_deadline(session: aiohttp.ClientSession) -> None:
    page = SlowPage()
    loop = asyncio.get_running_loop()
    async with serve(app_with(slow=page), "127.0.0.1", 0, shutdown_timeout_seconds=1.5) as port:
        asking = asyncio.create_task(session.get(f"http://127.0.0.1:{port}/slow"))
        await page.entered.wait()
        started = loop.time()
    assert loop.time() - started < 3.0
    with pytest.raises(aiohttp.ClientError):
        await asking


async def test_callers_with_open_connections_lose_no_request(
    session: aiohttp.ClientSession,
) -> None:
    """They call and call; each call either is answered or finds the port closed."""
    answered = 0
    started = asyncio.Event()

    async def keep_calling(url: str) -> None:
        nonlocal answered
        while True:
            try:
                async with session.get(url) as response:
                    assert response.status == 200
            except aiohttp.ClientConnectorError:
                return
            answered += 1
            if answered > 50:
                started.set()

    app = build_app(request_metrics(), operations_pages(not_ready, lambda: b""))
    async with (
        asyncio.TaskGroup() as callers,
        serve(app, "127.0.0.1", 0, shutdown_timeout_seconds=10) as port,
    ):
        for _ in range(8):
            callers.create_task(keep_calling(f"http://127.0.0.1:{port}/livez"))
        await started.wait()
    assert answered > 50


async def test_a_port_that_is_taken_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=rf"^Cannot listen on 127\.0\.0\.1:{port}: .+"):
            async with serve(app_with(), "127.0.0.1", port, shutdown_timeout_seconds=1):
                pass


async def test_processes_can_share_a_port() -> None:
    async with (
        serve(app_with(), "127.0.0.1", 0, shutdown_timeout_seconds=1, reuse_port=True) as port,
        serve(app_with(), "127.0.0.1", port, shutdown_timeout_seconds=1, reuse_port=True) as same,
    ):
        assert same == port


async def test_our_own_fault_is_a_problem_that_tells_nothing(
    session: aiohttp.ClientSession,
) -> None:
    async with (
        serve(app_with(fail=failing_page), "127.0.0.1", 0, shutdown_timeout_seconds=1) as port,
        session.get(f"http://127.0.0.1:{port}/fail", headers={"X-Request-Id": "r-1"}) as response,
    ):
        problem = await response.json(content_type="application/problem+json")
    assert (response.status, problem["code"]) == (500, "internal_error")
    assert "jane" not in str(problem)


async def not_ready() -> Readiness:
    return Readiness(ready=False, degraded=False, missing=("database",))


async def degraded() -> Readiness:
    return Readiness(ready=True, degraded=True, missing=("kafka",))


@pytest.mark.parametrize(
    ("readiness", "status", "word"), [(not_ready, 503, "not ready"), (degraded, 200, "degraded")]
)
async def test_a_role_without_customers_serves_machines(
    session: aiohttp.ClientSession, readiness: object, status: int, word: str
) -> None:
    app = build_app(request_metrics(), operations_pages(readiness, lambda: b"up 1\n"))
    async with serve(app, "127.0.0.1", 0, shutdown_timeout_seconds=1) as port:
        base = f"http://127.0.0.1:{port}"
        async with session.get(f"{base}/livez") as live:
            assert live.status == 200
        async with session.get(f"{base}/readyz") as ready:
            body = await ready.json()
            assert (ready.status, body["status"]) == (status, word)
            assert len(body["missing"]) == 1
        async with session.get(f"{base}/metrics") as metrics:
            assert await metrics.read() == b"up 1\n"
            assert metrics.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        async with session.get(f"{base}/user") as user:
            assert user.status == 404
