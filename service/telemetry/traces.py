"""Traces of one process, sent by OTLP over HTTP: what OpenTelemetry's own variables say of it.

Invariant: nothing waits for a collector. Spans wait in a bounded queue and are sent by a thread;
what finds no room is dropped, and the end of the process waits for a bounded time. Only imported
where traces are asked for: who does not trace never loads OpenTelemetry.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import version
from threading import Thread

import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind
from typing_extensions import override

from service.errors import ConfigurationError
from service.telemetry.logs import harmless_message
from service.telemetry.spans import AppendSpans, RequestSpans, TracedBatches

_EXPORTER_LOGGER = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
_KAFKA = {"messaging.system": "kafka"}


class Traces:
    """What a composition root hands to the parts. `service` is the name unless OTEL_SERVICE_NAME
    gives another. Raises ConfigurationError where an OTEL_… variable cannot be meant."""

    def __init__(self, service: str) -> None:
        try:
            self._provider = TracerProvider(
                resource=_resource(service),
                shutdown_on_exit=False,  # it would wait for half a minute
            )
            self._provider.add_span_processor(BatchSpanProcessor(_Exporter()))
        except ValueError as error:
            detail = str(error).rstrip(".")
            raise ConfigurationError(f"A variable OTEL_… is wrong: {detail}.") from error
        self._tracer = self._provider.get_tracer("customers", version("customers-service"))

    def requests(self) -> RequestSpans:
        return RequestSpans(self._tracer)

    def appends(self) -> AppendSpans:
        return AppendSpans(self._tracer)

    def publishing(self, topic: str) -> TracedBatches:
        attributes = _messaging("send", topic)
        return TracedBatches(self._tracer, f"send {topic}", SpanKind.PRODUCER, attributes)

    def applying(self, projection: str, topic: str | None) -> TracedBatches:
        """`topic` None: its events come from the log itself."""
        attributes = {"customers.projection": projection}
        if topic is not None:
            attributes |= _messaging("process", topic)
        name = f"process {topic or 'log'}"
        return TracedBatches(self._tracer, name, SpanKind.CONSUMER, attributes)

    def taking_in(self, topic: str) -> TracedBatches:
        attributes = _messaging("process", topic)
        return TracedBatches(self._tracer, f"process {topic}", SpanKind.CONSUMER, attributes)

    async def close(self, timeout_seconds: float) -> None:
        """Send what waits; what the collector has not taken in that time is lost."""
        loop = asyncio.get_running_loop()
        sent = asyncio.Event()

        def send() -> None:
            self._provider.shutdown()
            with suppress(RuntimeError):  # the loop did not wait for us, and is closed
                loop.call_soon_threadsafe(sent.set)

        # A daemon, unlike the loop's own threads, which the process would wait for at its end.
        Thread(target=send, name="last-spans", daemon=True).start()
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                await sent.wait()


class _Exporter(SpanExporter):
    """Says once that spans are not taken, with the reason, and once that they are again."""

    def __init__(self) -> None:
        self._inner = OTLPSpanExporter()
        self._reason = _LastWords()
        self._is_failing = False
        logging.getLogger(_EXPORTER_LOGGER).addFilter(self._reason)

    @override
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._inner.export(spans)
        is_failing = result is not SpanExportResult.SUCCESS
        if is_failing and not self._is_failing:
            structlog.get_logger().warning("traces_not_sent", reason=str(self._reason))
        elif self._is_failing and not is_failing:
            structlog.get_logger().info("traces_sent")
        self._is_failing = is_failing
        return result

    @override
    def shutdown(self) -> None:
        self._inner.shutdown()  # type: ignore[no-untyped-call]
        logging.getLogger(_EXPORTER_LOGGER).removeFilter(self._reason)


class _LastWords(logging.Filter):
    """Keeps the last lines of a logger, and lets none through: there are some for each try."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: deque[str] = deque(maxlen=2)  # that it will not try again, and why it did

    @override
    def __str__(self) -> str:
        return " ".join(self._lines)

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        self._lines.append(harmless_message(record))
        return False


def _messaging(operation: str, topic: str) -> dict[str, str]:
    return {
        **_KAFKA,
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": topic,
    }


def _resource(service: str) -> Resource:
    ours = Resource.create(
        {"service.name": service, "service.version": version("customers-service")}
    )
    return ours.merge(OTELResourceDetector().detect())
