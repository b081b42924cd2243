"""The spans that are made: of requests, of commands that wait for the log, and of batches.

Invariant: attributes come from closed sets (routes, statuses, codes, names of topics, counts), so
no span shows a person, a customer, a tenant or a token. That is why a request has no `url.path` and
no `url.query`, which OpenTelemetry's conventions ask for, and an error none of its words.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer

from service.errors import Conflict, NotFound, Unavailable
from service.telemetry.trace_context import (
    continued,
    is_sampled,
    joined,
    span_context,
    traceparent_of,
)

# Names by OpenTelemetry's semantic conventions, https://opentelemetry.io/docs/specs/semconv/.
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER_METHOD = "_OTHER"
ERROR_TYPE = "error.type"
BATCH_SIZE = "messaging.batch.message_count"

_Answer = TypeVar("_Answer")


class RequestSpans:
    """Spans of requests that are answered."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    @contextmanager
    def request(
        self, method: str, route: str | None, traceparent: str | None
    ) -> Iterator[RequestSpan]:
        """For the length of the block. `route` is a path template, None where nothing answers."""
        known = method if method in METHODS else OTHER_METHOD
        attributes: dict[str, str | int] = {"http.request.method": known, "url.scheme": "http"}
        if route is not None:
            attributes["http.route"] = route
        word = "HTTP" if known == OTHER_METHOD else known
        span = self._tracer.start_span(
            word if route is None else f"{word} {route}",
            continued(traceparent),
            SpanKind.SERVER,
            attributes,
        )
        with _ending(span):
            yield RequestSpan(span)


class RequestSpan:
    def __init__(self, span: Span) -> None:
        self._span = span
        self.traceparent = traceparent_of(span)

    def answered(self, status: int) -> None:
        self._span.set_attribute("http.response.status_code", status)
        if status >= 500:
            _mark(self._span, str(status))


class AppendSpans:
    """Spans of commands that wait for the log, and of the batches that write them."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        attributes = {"db.system.name": "postgresql", "db.stored_procedure.name": "log.append"}
        self._batches = TracedBatches(
            tracer, "log.append", SpanKind.CLIENT, attributes, "customers.commands"
        )
        self.batch = self._batches.batch

    def command(self, traceparent: str | None) -> CommandSpan | None:
        """None where the request's trace is not kept."""
        if traceparent is None or not is_sampled(traceparent):
            return None
        return CommandSpan(self._tracer.start_span("append", continued(traceparent)))


class CommandSpan:
    """From joining the queue to the answer."""

    def __init__(self, span: Span) -> None:
        self._span = span
        self.traceparent = traceparent_of(span)

    def goes_with(self, batch: str) -> None:
        """`batch`: the traceparent of the batch that it is in now."""
        context = span_context(batch)
        if context is not None:
            self._span.add_link(context)

    def end(self, answer: asyncio.Future[_Answer]) -> None:
        """A refusal has a code, and is no error."""
        error = None if answer.cancelled() else answer.exception()
        if isinstance(error, Conflict):
            self._span.set_attribute(ERROR_TYPE, error.code)
        elif error is not None:
            _mark(self._span, _type_of(error))
        self._span.end()


class TracedBatches:
    """One kind of batch; an object as `BatchSpans` asks for."""

    def __init__(
        self,
        tracer: Tracer,
        name: str,
        kind: SpanKind,
        attributes: Mapping[str, str],
        size_attribute: str = BATCH_SIZE,
    ) -> None:
        self._tracer = tracer
        self._name = name
        self._kind = kind
        self._attributes = attributes
        self._size_attribute = size_attribute

    @contextmanager
    def batch(self, traceparents: Iterable[str | None], size: int) -> Iterator[str | None]:
        if not size:
            yield None
            return
        attributes: dict[str, str | int] = {**self._attributes, self._size_attribute: size}
        parent, links = joined(traceparents)
        span = self._tracer.start_span(self._name, parent, self._kind, attributes, links)
        with _ending(span):
            yield traceparent_of(span) if span.is_recording() else None


@contextmanager
def _ending(span: Span) -> Iterator[None]:
    try:
        yield
    except BaseException as error:  # whatever it is, it goes on
        _mark(span, _type_of(error))
        raise
    finally:
        span.end()


def _mark(span: Span, error_type: str) -> None:
    """As failed. The error's words are left out: a driver's may quote values."""
    span.set_attribute(ERROR_TYPE, error_type)
    span.set_status(Status(StatusCode.ERROR))


def _type_of(error: BaseException) -> str:
    if isinstance(error, Unavailable | Conflict | NotFound):
        return error.code
    return type(error).__name__
