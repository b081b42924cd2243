"""Requests as spans, as the API sees them; and the trace that an event comes from.

Invariant: whoever does not trace stores the caller's own `traceparent`, and pays nothing.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from aiohttp import web

OWN_TRACEPARENT = web.RequestKey("own_traceparent", str)  # that of the request's span


class RequestSpan(Protocol):
    """One request, while it is answered."""

    @property
    def traceparent(self) -> str:
        """Its own, for whatever it leads to."""

    def answered(self, status: int) -> None:
        """What became of it."""


class RequestSpans(Protocol):
    """Must not block or raise."""

    def request(
        self, method: str, route: str | None, traceparent: str | None
    ) -> AbstractContextManager[RequestSpan]:
        """A span for the length of the block; `traceparent` is the caller's. `route` is a path
        template, None where nothing answers."""


def own_traceparent(request: web.BaseRequest) -> str:
    """Of a request that is traced."""
    return request[OWN_TRACEPARENT]
