"""The feed as a stream: live, resumed, bounded, and over when it has to be."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack
from time import monotonic

import pytest

from service.http import feed as http_feed
from service.http import slots
from service.http import streaming as http_streaming
from service.postgres import Postgres
from service.queries import feed as queries_feed
from service.queries import tail
from tests.support.api import Api, running_api
from tests.support.streams import STREAM, Received, streaming
from tests.support.topics import eventually

LIVE_SECONDS = 1.0  # a tenth is usual: this machine has others at work
WRITERS, WRITES_EACH = 6, 10
LARGE = {f"key {number}": "x" * 500 for number in range(50)}
ALL = "SELECT position FROM log.event WHERE tenant = 'default' ORDER BY position"


async def test_a_stream_shows_what_is_there_and_then_what_comes(api: Api) -> None:
    path = await api.create()
    async with streaming(api) as stream:
        created = await stream.event()
        page = await api.get("/events")
        assert created.data.encode() + b"\n" == page.body
        assert created == Received("1", "customer.created.v1", created.data, is_comment=False)
        assert stream.headers["As-Of-Position"] == "1"
        assert stream.headers["Log-Epoch"] == page.headers["Log-Epoch"]
        for number in range(3):
            await api.post(f"{path}/tag", {"tags": [f"tag {number}"]})
            committed_at = monotonic()
            tagged = await stream.event()
            assert monotonic() - committed_at < LIVE_SECONDS
            assert tagged.line["data"] == {"tags": [f"tag {number}"]}
            assert tagged.id == str(number + 2)


@pytest.mark.parametrize("pool_size_min", [1, 1_000], ids=["hints", "no hints"])
async def test_a_stream_has_everything_once_and_in_order_while_others_write(
    database: str, monkeypatch: pytest.MonkeyPatch, pool_size_min: int
) -> None:
    monkeypatch.setattr(tail, "LISTENING_POOL_SIZE_MIN", pool_size_min)
    async with running_api(database) as api, Postgres.connect(database) as postgres:
        other = await api.with_scopes("admin", tenant="other")
        async with streaming(api) as stream:
            writing = asyncio.gather(
                *(write(each, n) for n in range(WRITERS) for each in (api, other))
            )
            found = await stream.events(WRITERS * WRITES_EACH)
            await writing
        assert [each["position"] for each in found] == await postgres.fetch(int, ALL)


async def write(api: Api, number: int) -> None:
    path = await api.create(f"jane.{number}@example.com")
    for tag in range(WRITES_EACH - 1):
        assert (await api.post(f"{path}/tag", {"tags": [f"tag {tag}"]})).status == 200


async def test_a_stream_is_resumed_after_the_last_event(api: Api) -> None:
    path = await api.create()
    await api.post(f"{path}/tag", {"tags": ["a"]})
    async with streaming(api, "after=0") as stream:
        await stream.event()
        last_id = stream.last_id
    await api.post(f"{path}/tag", {"tags": ["b"]})
    async with streaming(api, "after=0", {"Last-Event-ID": last_id}) as stream:
        assert [each["position"] for each in await stream.events(2)] == [2, 3]
    async with streaming(api, "after=2&limit=1") as stream:
        assert (await stream.event()).id == "3"
        await api.post(f"{path}/tag", {"tags": ["c"]})
        assert (await stream.event()).id == "4"


async def test_a_stream_has_only_the_types_and_the_tenant_asked_for(api: Api) -> None:
    other = await api.with_scopes("admin", tenant="other")
    async with streaming(api, "types=customer.tagged.v1") as stream:
        await other.post(f"{await other.create()}/tag", {"tags": ["theirs"]})
        await api.post(f"{await api.create()}/tag", {"tags": ["mine"]})
        assert (await stream.event()).line["data"] == {"tags": ["mine"]}


@pytest.mark.parametrize("last_id", ["x", "-1", "", "1.5", str(2**63), "٣"])
async def test_an_id_that_is_no_position(shared_api: Api, last_id: str) -> None:
    headers = {**STREAM, "Last-Event-ID": last_id}
    answer = await shared_api.call("GET", "/events", headers=headers)
    assert (answer.status, answer.code) == (400, "invalid_parameter")
    assert answer.fault_codes == {"Last-Event-ID": "not_a_position"}


@pytest.mark.parametrize(
    ("accept", "is_stream"),
    [("text/event-stream", True), ("Text/Event-Stream; q=0.5, */*;q=0.1", True),
     ("text/event-stream;q=0", False), ("*/*", False), ("application/x-ndjson", False)],
)  # fmt: skip
async def test_the_form_is_the_one_accepted(shared_api: Api, accept: str, is_stream: bool) -> None:
    head = await shared_api.call("HEAD", "/events", headers={"Accept": accept})
    expected = "text/event-stream" if is_stream else "application/x-ndjson"
    assert (head.status, head.headers["Content-Type"]) == (200, expected)


async def test_quiet_streams_get_comments_with_the_place_they_came_to(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_feed, "COMMENT_SECONDS", 0.1)
    monkeypatch.setattr(queries_feed, "PULSE_SECONDS", 0.02)
    async with streaming(api) as stream:
        assert (await stream.comment()).id == ""
        other = await api.with_scopes("admin", tenant="other")
        await other.create()
        while not stream.last_id:
            await stream.comment()
        assert stream.last_id == "1"


async def test_streams_are_bounded_by_token_and_who_leaves_makes_room(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_feed, "STREAMS_MAX", http_feed.STREAMS_PER_TOKEN_MAX + 1)
    second, third = [await api.with_scopes("events:read") for _ in range(2)]
    async with AsyncExitStack() as stack:
        async with AsyncExitStack() as leaving:
            await leaving.enter_async_context(streaming(api))
            for _ in range(http_feed.STREAMS_PER_TOKEN_MAX - 1):
                await stack.enter_async_context(streaming(api))
            assert await refused(api)
            await stack.enter_async_context(streaming(second))
            assert await refused(third)

        async def is_room() -> bool:
            return not await refused(api)

        await eventually(is_room)


async def refused(api: Api) -> bool:
    """Asks with HEAD, which takes no place for long."""
    answer = await api.call("HEAD", "/events", headers=STREAM)
    assert answer.status in {200, 503}
    assert answer.status == 200 or answer.headers["Retry-After"]
    return answer.status == 503


async def test_streams_take_no_slot(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "WAIT_SECONDS", 0.1)
    monkeypatch.setattr(slots, "IN_FLIGHT_MAX", 1)
    async with running_api(database) as api, streaming(api), streaming(api):
        assert (await api.get("/user")).status == 200


async def test_a_caller_who_takes_nothing_is_cut_off(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_streaming, "WRITE_TIMEOUT_SECONDS", 0.5)
    await asyncio.gather(
        *(api.create(f"jane.{number}@example.com", metadata=LARGE) for number in range(250))
    )
    host, port = api.url.removeprefix("http://").split(":")
    with socket.socket() as caller:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        caller.connect((host, int(port)))
        caller.sendall(
            f"GET /events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {api.token}\r\n"
            "Accept: text/event-stream\r\n\r\n".encode()
        )
        await eventually(lambda: is_streaming(api))
        await eventually(lambda: is_idle(api))
        async with streaming(api) as stream:  # and others are served
            assert len(await stream.events(250)) == 250


async def is_streaming(api: Api) -> bool:
    return api.app.in_flight == 1


async def is_idle(api: Api) -> bool:
    return api.app.in_flight == 0


async def test_a_stream_ends_with_its_token(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_feed, "COMMENT_SECONDS", 0.1)
    monkeypatch.setattr(queries_feed, "PULSE_SECONDS", 0.02)
    token = await api.tokens.create("default", ["events:read"], currency="USD")
    async with streaming(api.with_token(token.text)) as stream:
        await stream.comment()
        await api.tokens.revoke(token.id)
        await stream.end()


async def test_a_deleted_customer_is_nobody_in_a_stream(api: Api) -> None:
    path = await api.create("gone@example.com", firstName="Gone")
    async with streaming(api) as stream:
        assert (await stream.event()).line["data"]["email"] == "gone@example.com"
        assert (await api.delete(path)).status == 204
        assert (await stream.event()).event == "customer.deleted.v1"
    async with streaming(api) as stream:
        created = await stream.event()
        assert "one" not in created.data.replace("phone", "")
        assert created.line["forgotten"] is True


async def test_what_was_read_for_a_stream_before_a_deletion_is_shown_to_nobody_after(
    api: Api,
) -> None:
    path = await api.create("gone@example.com")
    async with streaming(api) as stream:
        assert "gone@example.com" in (await stream.event()).data
    assert (await api.delete(path)).status == 204
    async with streaming(api) as stream:
        assert (await stream.event()).line["forgotten"] is True


async def test_who_may_not_read_gets_no_stream(shared_api: Api) -> None:
    reader = await shared_api.with_scopes("customers:read")
    assert (await reader.call("GET", "/events", headers=STREAM)).code == "insufficient_scope"
    nobody = shared_api.with_token(None)
    assert (await nobody.call("GET", "/events", headers=STREAM)).status == 401
