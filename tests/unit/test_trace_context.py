"""Which traces a batch goes on with, which it is linked to, and what names none."""

from __future__ import annotations

import asyncio

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from opentelemetry.trace import SpanKind, StatusCode, get_current_span

from service.errors import Conflict, Corrupt, Unavailable
from service.telemetry import NoBatchSpans
from service.telemetry.spans import AppendSpans, RequestSpans, TracedBatches
from service.telemetry.trace_context import LINKS_MAX, Joined, joined, span_context

KEPT = [f"00-{number:032x}-{number:016x}-01" for number in range(1, 200)]
NOT_KEPT = [each[:-1] + "0" for each in KEPT]
NO_TRACEPARENTS = ("", "x", "00-0-0-01", f"00-{'0' * 32}-{'1' * 16}-01", "00-g-1-01", "1-2-3-4-5")


def parent_of(found: Joined) -> int:
    """The number that its trace was made from; 0 = a new trace."""
    return get_current_span(found.parent).get_span_context().trace_id


def linked_by(found: Joined) -> list[int]:
    return [link.context.trace_id for link in found.links]


@pytest.mark.parametrize("text", NO_TRACEPARENTS)
def test_what_does_not_follow_the_standard_names_nothing(text: str) -> None:
    assert span_context(text) is None
    assert parent_of(joined([text])) == 0


def test_a_batch_goes_on_with_the_first_kept_trace_and_is_linked_to_the_others() -> None:
    found = joined([None, NOT_KEPT[8], KEPT[4], KEPT[1], KEPT[4], "x1", KEPT[2]])
    assert (parent_of(found), linked_by(found)) == (5, [2, 3])


def test_a_batch_of_traces_that_nobody_keeps_goes_on_with_one_of_them() -> None:
    found = joined([None, *NOT_KEPT[4:9]])
    assert (parent_of(found), linked_by(found)) == (5, [])


def test_a_batch_without_traces_begins_one() -> None:
    assert joined([None, None]) == joined([])


def test_links_are_bounded_and_nothing_beyond_them_is_looked_at() -> None:
    asked: list[str] = []

    def asking() -> list[str]:
        for each in KEPT:
            asked.append(each)
            yield each

    found = joined(asking())
    assert linked_by(found) == list(range(2, LINKS_MAX + 2))
    assert len(asked) == LINKS_MAX + 1


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def provider(exporter: InMemorySpanExporter) -> TracerProvider:
    """What is kept of new traces is nothing, so whatever is kept was decided by a caller."""
    made = TracerProvider(sampler=ParentBased(ALWAYS_OFF), shutdown_on_exit=False)
    made.add_span_processor(SimpleSpanProcessor(exporter))
    return made


def test_a_batch_is_kept_where_something_in_it_is(
    provider: TracerProvider, exporter: InMemorySpanExporter
) -> None:
    batches = TracedBatches(provider.get_tracer("tests"), "send", SpanKind.PRODUCER, {})
    for traceparents in ([], [None], NOT_KEPT, [*NOT_KEPT, KEPT[3]]):
        with batches.batch(traceparents, 7) as own:
            assert (own is not None) is (KEPT[3] in traceparents)
    (span,) = exporter.get_finished_spans()
    assert dict(span.attributes or {}) == {"messaging.batch.message_count": 7}


def test_an_empty_batch_has_no_span(
    provider: TracerProvider, exporter: InMemorySpanExporter
) -> None:
    with TracedBatches(provider.get_tracer("tests"), "send", SpanKind.PRODUCER, {}).batch(KEPT, 0):
        pass
    assert exporter.get_finished_spans() == ()


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (Unavailable("broker_unavailable", "words"), "broker_unavailable"),
        (Corrupt("words"), "Corrupt"),
        (asyncio.CancelledError("words"), "CancelledError"),
    ],
)
def test_a_batch_that_fails_says_why_without_words(
    provider: TracerProvider, exporter: InMemorySpanExporter, error: BaseException, told: str
) -> None:
    batches = TracedBatches(provider.get_tracer("tests"), "send", SpanKind.PRODUCER, {})
    with pytest.raises(type(error)), batches.batch(KEPT[:1], 1):
        raise error
    (span,) = exporter.get_finished_spans()
    assert (span.status.status_code, (span.attributes or {})["error.type"]) == (
        StatusCode.ERROR,
        told,
    )
    assert "words" not in span.to_json()


def test_a_request_that_is_not_kept_names_itself_all_the_same(
    provider: TracerProvider, exporter: InMemorySpanExporter
) -> None:
    """So that whoever follows knows that it is not."""
    with RequestSpans(provider.get_tracer("tests")).request("GET", "/user", NOT_KEPT[0]) as span:
        trace_id, span_id = span.traceparent.split("-")[1:3]
    assert trace_id == NOT_KEPT[0].split("-")[1]
    assert span_id != NOT_KEPT[0].split("-")[2]
    assert span.traceparent.endswith("-00")
    assert exporter.get_finished_spans() == ()


async def test_a_command_ends_with_its_answer_whatever_that_is(
    provider: TracerProvider, exporter: InMemorySpanExporter
) -> None:
    appends = AppendSpans(provider.get_tracer("tests"))
    assert appends.command(None) is None
    assert appends.command(NOT_KEPT[0]) is None
    told = {
        None: None,
        Conflict("email_taken"): "email_taken",
        Unavailable("overloaded", "words"): "overloaded",
    }
    for error in told:
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        span = appends.command(KEPT[0])
        assert span is not None
        if error is None:
            answer.cancel()
        else:
            answer.set_exception(error)
        span.end(answer)
    spans = exporter.get_finished_spans()
    assert [(each.attributes or {}).get("error.type") for each in spans] == [*told.values()]
    assert [each.status.status_code for each in spans] == [
        StatusCode.UNSET,
        StatusCode.UNSET,
        StatusCode.ERROR,
    ]


def test_where_nobody_traces_a_batch_is_not_looked_at() -> None:
    with NoBatchSpans().batch((1 / 0 for _ in range(1)), 1) as own:
        assert own is None
