"""Traces, from a request to the read model, by real roles and a collector of this process."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from service.embedded.child_process import free_port
from service.telemetry.trace_context import LINKS_MAX
from tests.end_to_end.command import run
from tests.support.collector import Collector, Span, collecting, never_answering
from tests.support.topics import eventually, read_topic
from tests.system.installation import Installation, Role

pytestmark = pytest.mark.timeout(240)

SENT_EVERY_MS = "50"
STOP_SECONDS_MAX = 5.0  # of ten: nothing else is in hand
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
ATTRIBUTES = {
    "http.request.method", "http.route", "http.response.status_code", "url.scheme", "error.type",
    "db.system.name", "db.stored_procedure.name", "customers.commands", "customers.projection",
    "messaging.system", "messaging.operation.name", "messaging.operation.type",
    "messaging.destination.name", "messaging.batch.message_count",
}  # fmt: skip


@pytest.fixture
async def collector(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Collector]:
    """Whatever role is started in the test sends its spans there."""
    async with collecting() as made:
        _send_to(monkeypatch, made.url)
        yield made


def _send_to(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv(ENDPOINT, url)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", SENT_EVERY_MS)


@asynccontextmanager
async def traced(system: Installation, *names: str) -> AsyncIterator[dict[str, Role]]:
    """Roles that trace, for the length of the block."""
    roles = {name: system.launch(name, TRACES="on") for name in names}
    await system.until_ready(*roles.values())
    try:
        yield roles
    finally:
        for role in roles.values():
            if role.is_running:
                await asyncio.to_thread(role.process.stop)


def a_traceparent() -> tuple[str, str]:
    """A trace's id, and what a caller sends of it."""
    trace_id = uuid4().hex
    return trace_id, f"00-{trace_id}-{uuid4().hex[:16]}-01"


async def send(
    system: Installation, api: Role, method: str, path: str, body: object = None, **headers: str
) -> tuple[int, str]:
    async with system.session.request(
        method, api.url + path, json=body, headers={**system.headers, **headers}
    ) as answer:
        return answer.status, await answer.text()


async def create(system: Installation, api: Role, traceparent: str | None = None) -> str:
    body = {"email": f"{uuid4().hex}@example.com"}
    headers = {} if traceparent is None else {"traceparent": traceparent}
    status, text = await send(system, api, "POST", "/user", body, **headers)
    assert status == 201, text
    return str(json.loads(text)["id"])


async def test_a_request_is_followed_to_the_read_model(
    installation: Installation, collector: Collector
) -> None:
    trace_id, traceparent = a_traceparent()
    async with traced(installation, "api", "relay", "projections") as roles:
        await create(installation, roles["api"], traceparent)
        request = await collector.wait_for("customers-api", "POST /user", trace_id)
        append = await collector.wait_for("customers-api", "append", trace_id)
        batch = await collector.wait_for("customers-api", "log.append", trace_id)
        topic = installation.events_topic
        sent = await collector.wait_for("customers-relay", f"send {topic}", trace_id)
        shown = await collector.wait_for("customers-projections", f"process {topic}", trace_id)
    assert {each.name for each in collector.of_kind("SERVER")} == {"POST /user"}  # and no /readyz
    assert request.parent_id == traceparent.split("-")[2]
    assert append.parent_id == request.context.span_id
    assert (batch.parent_id, append.links) == (append.context.span_id, [batch.context])
    assert {sent.parent_id, shown.parent_id} == {request.context.span_id}
    kinds = [each.kind for each in (request, append, batch, sent, shown)]
    assert kinds == ["SERVER", "INTERNAL", "CLIENT", "PRODUCER", "CONSUMER"]
    assert request.attributes == {
        "http.request.method": "POST",
        "http.route": "/user",
        "http.response.status_code": 201,
        "url.scheme": "http",
    }
    assert shown.attributes["customers.projection"] == "customers"
    assert sent.attributes["messaging.batch.message_count"] == 1
    records = await read_topic(installation.bootstrap_servers, topic)
    named = [dict(each.headers).get("ce_traceparent", b"").decode() for each in records]
    assert f"00-{trace_id}-{request.context.span_id}-01" in named


async def test_an_order_is_followed_into_the_log(
    installation: Installation, collector: Collector
) -> None:
    trace_id, traceparent = a_traceparent()
    async with traced(installation, "api", "intake") as roles:
        customer_id = await create(installation, roles["api"], a_traceparent()[1])
        order = {
            "specversion": "1.0", "type": "order", "source": "/shop", "id": uuid4().hex,
            "traceparent": traceparent,
            "data": {"orderId": uuid4().hex, "orderVersion": 1, "customerId": customer_id,
                     "status": "paid", "currency": "USD", "total": 4_200},
        }  # fmt: skip
        topic = f"{installation.settings['KAFKA_TOPIC_PREFIX']}commerce.orders.v1"
        await asyncio.to_thread(_produce, installation.bootstrap_servers, topic, order)
        taken = await collector.wait_for("customers-intake", f"process {topic}", trace_id)
    assert (taken.kind, taken.parent_id) == ("CONSUMER", traceparent.split("-")[2])
    assert taken.attributes["messaging.batch.message_count"] == 1


def _produce(bootstrap_servers: str, topic: str, order: dict[str, object]) -> None:
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": bootstrap_servers})
    headers = [("content-type", b"application/cloudevents+json")]
    producer.produce(topic, json.dumps(order).encode(), b"key", headers=headers)
    assert producer.flush(20) == 0


async def test_a_batch_costs_one_span_however_many_traces_are_in_it(
    installation: Installation, collector: Collector
) -> None:
    """Written while nobody publishes, so that they are published together."""
    traces = dict(a_traceparent() for _ in range(3 * LINKS_MAX))
    async with traced(installation, "api") as roles:
        await asyncio.gather(
            *(create(installation, roles["api"], each) for each in traces.values())
        )
    appends = [each for each in collector.spans if each.name == "append"]
    batches = [each for each in collector.spans if each.name == "log.append"]
    assert {each.context.trace_id for each in appends} == traces.keys()
    assert sum(int(each.attributes["customers.commands"]) for each in batches) == len(traces)
    linked = {each.context for each in batches}
    assert all(len(each.links) == 1 and each.links[0] in linked for each in appends)
    async with traced(installation, "relay", "projections") as roles:
        await eventually(lambda: _all_shown(collector, len(traces)))
        count = await installation.metric(roles["relay"], "customers_relay_batch_events_count")
    name = f"send {installation.events_topic}"
    sent = collector.of("customers-relay", name)
    assert len(sent) <= count
    most = max(sent, key=lambda each: int(each.attributes["messaging.batch.message_count"]))
    assert int(most.attributes["messaging.batch.message_count"]) >= len(traces)
    assert len(most.links) == LINKS_MAX
    assert all(len(each.links) <= LINKS_MAX for each in collector.spans)


async def _all_shown(collector: Collector, events: int) -> bool:
    shown = [each for each in collector.spans if each.service == "customers-projections"]
    return sum(int(each.attributes["messaging.batch.message_count"]) for each in shown) >= events


async def test_no_span_shows_who_is_spoken_of(
    installation: Installation, collector: Collector
) -> None:
    """Whatever a caller puts where, and whatever goes wrong."""
    secret = f"secret-{uuid4().hex}"
    email = f"{secret}@example.com"
    body = {"email": email, "firstName": secret, "tags": [secret]}
    words = dict.fromkeys(("X-Request-Id", "User-Agent", "tracestate", "baggage"), secret)
    traced_by = {"traceparent": a_traceparent()[1], **words}
    async with traced(installation, "api", "relay", "projections") as roles:
        status, text = await send(installation, roles["api"], "POST", "/user", body, **traced_by)
        customer_id = str(json.loads(text)["id"])
        asked = [
            ("POST", "/user", body), ("GET", f"/user?q={secret}", None),
            ("GET", f"/{secret}", None), ("GET", f"/user/{secret}", None),
            ("PUT", f"/user/{customer_id}", {"firstName": secret, "lastName": secret}),
            ("PROPFIND", "/user", None), ("DELETE", f"/user/{customer_id}", None),
        ]  # fmt: skip
        statuses = [
            (await send(installation, roles["api"], *each, **traced_by))[0] for each in asked
        ]
        ended = await collector.wait_for(
            "customers-api", "DELETE /user/{customerId}", traced_by["traceparent"].split("-")[1]
        )
        await collector.wait_for(
            "customers-projections",
            f"process {installation.events_topic}",
            ended.context.trace_id,
        )
    assert [status, *statuses] == [201, 409, 200, 404, 404, 200, 405, 204]
    names = {each.name for each in collector.spans}
    assert {"HTTP /user", "GET", "GET /user/{customerId}"} <= names
    told = b"".join(collector.raw)
    for hidden in (secret, customer_id, installation.token, email):
        assert hidden.encode() not in told
    assert {key for each in collector.spans for key in each.attributes} <= ATTRIBUTES
    refused = [each for each in collector.of("customers-api", "append") if _code(each)]
    assert [_code(each) for each in refused] == ["email_taken"]


def _code(span: Span) -> str:
    return str(span.attributes.get("error.type", ""))


async def test_a_dead_collector_harms_nobody_and_is_told_of_once(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    _send_to(monkeypatch, f"http://127.0.0.1:{port}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "2")  # so it tries twice, and says why
    async with traced(installation, "api") as roles:
        api = roles["api"]
        for _ in range(3):
            await create(installation, api, a_traceparent()[1])
            await eventually(lambda: _has_said(api, "traces_not_sent"))
        assert len(api.logged("traces_not_sent")) == 1
        assert "ConnectionError" in api.logged("traces_not_sent")[0]
        async with collecting(port) as collector:
            trace_id, traceparent = a_traceparent()
            await create(installation, api, traceparent)
            await collector.wait_for("customers-api", "POST /user", trace_id)
            await eventually(lambda: _has_said(api, "traces_sent"))
        await create(installation, api, a_traceparent()[1])
        code, seconds = await asyncio.to_thread(api.process.stop)
    assert code == 0
    assert seconds < STOP_SECONDS_MAX
    assert api.failures == []


async def test_a_collector_that_never_answers_holds_up_nobody(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queue is full at once, and its spans are dropped."""
    async with never_answering() as url:
        _send_to(monkeypatch, url)
        monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "4")
        monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2")
        async with traced(installation, "api") as roles:
            traces = dict(a_traceparent() for _ in range(50))
            await asyncio.gather(
                *(create(installation, roles["api"], each) for each in traces.values())
            )
            code, seconds = await asyncio.to_thread(roles["api"].process.stop)
    assert code == 0
    assert seconds < STOP_SECONDS_MAX


async def _has_said(role: Role, event: str) -> bool:
    return bool(role.logged(f'"event":"{event}"'))


@pytest.mark.parametrize(("traces", "is_loaded"), [("off", False), ("on", True)])
async def test_who_does_not_trace_loads_nothing_of_it(
    installation: Installation, collector: Collector, monkeypatch: pytest.MonkeyPatch,
    traces: str, is_loaded: bool,
) -> None:  # fmt: skip
    """Python itself tells what is imported, to the end of the process."""
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")
    for name in ("api", "relay", "projections", "intake"):
        role = await installation.start(name, TRACES=traces)
        if name == "api":
            await create(installation, role, a_traceparent()[1])
        assert (await asyncio.to_thread(role.process.stop))[0] == 0
        assert bool(role.logged("opentelemetry")) is is_loaded
    assert bool(collector.spans) is is_loaded


@pytest.mark.parametrize("role", ["api", "api --workers 2", "up", "relay"])
async def test_without_the_packages_it_ends_with_one_sentence(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, role: str
) -> None:
    package = tmp_path / "hidden" / "opentelemetry"
    package.mkdir(parents=True)
    missing = 'raise ModuleNotFoundError("none", name="opentelemetry")\n'
    (package / "__init__.py").write_text(missing)
    paths = [str(package.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    done = await asyncio.to_thread(
        *(run, installation.folder, *role.split()),
        **{**installation.settings, "HTTP_PORT": "0", "TRACES": "on"},
    )
    assert done.returncode == 2
    assert "pip install 'customers-service[traces]'" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_TRACES_EXPORTER", "console"),
        ("OTEL_BSP_SCHEDULE_DELAY", "-1"),
    ],
)
async def test_a_variable_that_cannot_be_meant_ends_the_start(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    done = await asyncio.to_thread(
        run, installation.folder, "api", **installation.settings, TRACES="on", HTTP_PORT="0"
    )
    assert done.returncode == 2
    assert "OTEL_" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("name", "value"), [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")]
)
async def test_switched_off_by_opentelemetrys_own_variables_the_callers_trace_is_stored(
    installation: Installation, collector: Collector, monkeypatch: pytest.MonkeyPatch,
    name: str, value: str,
) -> None:  # fmt: skip
    monkeypatch.setenv(name, value)
    _, traceparent = a_traceparent()
    async with traced(installation, "api", "relay") as roles:
        untraced = await create(installation, roles["api"])
        await create(installation, roles["api"], traceparent)
        published: dict[str, str | None] = {}

        async def is_published() -> bool:
            records = await read_topic(installation.bootstrap_servers, installation.events_topic)
            for headers in (dict(each.headers) for each in records if each.key is not None):
                told = headers.get("ce_traceparent")
                published[headers["ce_subject"].decode()] = told.decode() if told else None
            return traceparent in published.values()

        await eventually(is_published)
    assert published[untraced] is None
    assert collector.spans == []
