"""What every answer carries besides its body."""

import asyncio
import re

import pytest

from service.event_log import EventLog
from service.events import Position
from service.postgres import Postgres
from tests.end_to_end.test_http_server import head, port_of
from tests.support.api import Api
from tests.support.vaults import VAULT

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
ADDRESS = {"line1": "1 Rd", "city": "Bonn", "country": "DE"}


@pytest.mark.parametrize("request_id", ["x", "a/b+c=~!", "r" * 128])
async def test_a_request_id_is_echoed(api: Api, request_id: str) -> None:
    for path in ("/user", "/nope", "/livez"):
        answer = await api.get(path, x_request_id=request_id)
        assert answer.headers["X-Request-Id"] == request_id


@pytest.mark.parametrize("request_id", ["", "r" * 129, "a b", "ü"])
async def test_an_unfit_request_id_is_replaced(api: Api, request_id: str) -> None:
    answer = await api.get("/user", x_request_id=request_id)
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["X-Request-Id"])


async def test_the_problem_names_its_request(api: Api) -> None:
    answer = await api.get("/nope", x_request_id="a/b c".replace(" ", "+"))
    assert answer.json["requestId"] == "a/b+c"
    assert answer.json["instance"] == "urn:request:a%2Fb%2Bc"


async def test_no_answer_may_be_cached_or_guessed_at(api: Api) -> None:
    path = await api.create()
    for answer in (
        await api.get(path),
        await api.get("/user"),
        await api.get("/nope"),
        await api.get(path, if_none_match="*"),
        await api.delete(path),
        await api.get("/livez"),
    ):
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "aiohttp" not in answer.headers["Server"].lower()
        assert "python" not in answer.headers["Server"].lower()


async def test_every_write_names_its_position(api: Api) -> None:
    created = await api.post("/user", {"email": "jane@example.com"})
    path = created.headers["Location"]
    address = await api.post(f"{path}/address", ADDRESS)
    both = await api.put(path, {"firstName": "Jane", "tags": ["vip"]})
    nothing = await api.put(path, {})
    removed = await api.delete(address.headers["Location"])
    deleted = await api.delete(path)
    writes = [created, address, both, nothing, removed, deleted]
    assert [write.headers["Log-Position"] for write in writes] == ["1", "2", "4", "4", "5", "6"]
    assert len({write.headers["Log-Epoch"] for write in writes}) == 1
    assert created.headers["Log-Epoch"]


async def test_reads_say_what_they_show(api: Api) -> None:
    path = await api.create("a@example.com")
    await api.create("b@example.com")
    assert (await api.get(path)).headers["As-Of-Position"] in {"1", "2"}
    assert (await api.get("/user")).headers["As-Of-Position"] == "2"
    assert "As-Of-Position" in (await api.get(path, if_none_match='"1"')).headers


async def test_head_is_get_without_a_body(api: Api) -> None:
    path = await api.create()
    get, head = await api.get(path), await api.call("HEAD", path)
    assert (head.status, head.body) == (200, b"")
    for header in ("ETag", "Content-Length", "Content-Type", "As-Of-Position"):
        assert head.headers[header] == get.headers[header]
    assert (await api.call("HEAD", "/user/cust_none")).status == 404


async def test_the_request_is_told_in_its_events(api: Api, database: str) -> None:
    headers = {"traceparent": TRACEPARENT, "X-Request-Id": "req-1"}
    await api.call("POST", "/user", {"email": "a@example.com"}, headers=headers)
    headers = {"traceparent": TRACEPARENT.replace("4", "g"), "X-Request-Id": "req-2"}
    await api.call("POST", "/user", {"email": "b@example.com"}, headers=headers)
    async with Postgres.connect(database) as postgres:
        events = [event.decoded() for event in await EventLog(postgres, VAULT).page(Position(0))]
    first, second = (event.meta for event in events)
    assert (first.request_id, first.traceparent) == ("req-1", TRACEPARENT)
    assert (second.request_id, second.traceparent) == ("req-2", None)
    assert (first.actor.type, first.actor.name) == ("token", "tests")
    assert first.actor.id.startswith("tok_")


async def test_each_log_epoch_that_is_sent_must_be_the_logs(api: Api) -> None:
    epoch = (await api.get("/user")).headers["Log-Epoch"]
    for sent, status in (
        ([epoch], b"200"),
        ([epoch, epoch], b"200"),
        ([epoch, "other"], b"412"),
        (["other", epoch], b"412"),
        ([""], b"412"),
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(api))
        writer.write(head(api, "GET", "/user", *(f"Log-Epoch: {each}" for each in sent)))
        assert (await reader.readline()).split()[1] == status, sent
        writer.close()
