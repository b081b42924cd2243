"""Traces by their names on the wire: W3C's `traceparent`, to a context and back.

Invariant: what does not follow the standard names nothing; of a batch a bounded number of traces is
told. Only imported where somebody traces, for it imports OpenTelemetry.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from opentelemetry.context import Context
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    TraceFlags,
    set_span_in_context,
)

LINKS_MAX = 32  # from a batch to the traces in it; a link is about 100 bytes of what is sent

ROOT = Context()  # of a span without a parent; None would be whatever context is current
_ODD = frozenset("13579bdf")  # the last digit of a traceparent whose maker keeps the trace


class Joined(NamedTuple):
    """What the span of a batch continues, and the other traces that it is linked to."""

    parent: Context
    links: list[Link]


def traceparent_of(span: Span) -> str:
    context = span.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def is_sampled(traceparent: str) -> bool:
    """Whether who made it keeps its trace."""
    return traceparent[-1:] in _ODD


def span_context(traceparent: str) -> SpanContext | None:
    """None where it does not follow the standard."""
    try:
        _, trace_id, span_id, flags = traceparent.split("-")
        ids, kept = (int(trace_id, 16), int(span_id, 16)), TraceFlags(int(flags, 16))
    except ValueError:
        return None
    context = SpanContext(*ids, is_remote=True, trace_flags=kept)
    return context if context.is_valid else None


def continued(traceparent: str | None) -> Context:
    """For a span that goes on with this trace; a new trace where there is none."""
    context = None if traceparent is None else span_context(traceparent)
    return ROOT if context is None else _in_context(context)


def joined(traceparents: Iterable[str | None]) -> Joined:
    """A batch goes on with the first trace in it that is kept, and is linked to the others.

    So the sampler, which follows the parent, keeps a batch where it has kept what is in it. A batch
    of traces that nobody keeps goes on with one of them, and is not kept either.
    """
    first: str | None = None
    kept: dict[str, SpanContext] = {}
    for each in traceparents:
        if each is None or each in kept:
            continue
        first = first or each
        if is_sampled(each) and (context := span_context(each)) is not None:
            kept[each] = context
            if len(kept) > LINKS_MAX:
                break
    if not kept:
        return Joined(continued(first), [])
    parent, *others = kept.values()
    return Joined(_in_context(parent), [Link(each) for each in others])


def _in_context(context: SpanContext) -> Context:
    return set_span_in_context(NonRecordingSpan(context), ROOT)
