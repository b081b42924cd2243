"""A collector of traces: takes OTLP over HTTP, and keeps what it was sent.

Invariant: bytes are read by OpenTelemetry's own messages, not by anything of ours.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Message
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from tests.support.topics import eventually

Value = str | int | float | bool
FAILED = Status.StatusCode.STATUS_CODE_ERROR


class Context(NamedTuple):
    """Hexadecimal, as in a traceparent."""

    trace_id: str
    span_id: str


class Span(NamedTuple):
    service: str
    name: str
    kind: str  # SERVER, CLIENT, PRODUCER …
    context: Context
    parent_id: str  # empty where it has none
    links: list[Context]
    attributes: dict[str, Value]
    failed: bool

    @property
    def traces(self) -> set[str]:
        """Those that it belongs to, or is linked to."""
        return {self.context.trace_id, *(each.trace_id for each in self.links)}


@dataclass
class Collector:
    url: str
    spans: list[Span] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)  # bodies as they came

    def of(self, service: str, name: str) -> list[Span]:
        return [each for each in self.spans if (each.service, each.name) == (service, name)]

    def of_kind(self, kind: str) -> list[Span]:
        return [each for each in self.spans if each.kind == kind]

    async def wait_for(self, service: str, name: str, trace_id: str) -> Span:
        """The first such span that has to do with a trace."""
        found: list[Span] = []

        async def is_there() -> bool:
            found[:] = [each for each in self.of(service, name) if trace_id in each.traces]
            return bool(found)

        try:
            await eventually(is_there)
        except AssertionError:
            names = {(each.service, each.name, trace_id in each.traces) for each in self.spans}
            raise AssertionError(f"no {name} of {service} in {trace_id}: {names}") from None
        return found[0]

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.raw.append(body)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            service = str(_values(resource.resource.attributes)["service.name"])
            for scope in resource.scope_spans:
                self.spans += [_span(service, each) for each in scope.spans]
        answer = ExportTraceServiceResponse().SerializeToString()
        return web.Response(body=answer, content_type="application/x-protobuf")


@asynccontextmanager
async def collecting(port: int = 0) -> AsyncIterator[Collector]:
    """A collector for the length of the block, at the address that exporters are given."""
    collector = Collector("")
    app = web.Application()
    app.router.add_post("/v1/traces", collector.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        collector.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield collector
    finally:
        await runner.cleanup()


@asynccontextmanager
async def never_answering() -> AsyncIterator[str]:
    """The URL of a server that takes everything and says nothing."""
    ended = asyncio.Event()

    async def hold(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await ended.wait()
        writer.close()

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        ended.set()
        server.close()
        await server.wait_closed()


def _span(service: str, message: Message) -> Span:
    trace_id = message.trace_id.hex()
    return Span(
        service,
        message.name,
        Message.SpanKind.Name(message.kind).removeprefix("SPAN_KIND_"),
        Context(trace_id, message.span_id.hex()),
        message.parent_span_id.hex(),
        [Context(each.trace_id.hex(), each.span_id.hex()) for each in message.links],
        _values(message.attributes),
        message.status.code == FAILED,
    )


def _values(attributes: list[KeyValue]) -> dict[str, Value]:
    return {
        each.key: getattr(each.value, each.value.WhichOneof("value") or "string_value")
        for each in attributes
    }
