"""Batches as spans, as the parts that work through them see it: off unless somebody traces.

Invariant: a batch costs one span at most, however many events are in it.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class BatchSpans(Protocol):
    """Called by a worker around each batch; must not block or raise."""

    def batch(
        self, traceparents: Iterable[str | None], size: int, /
    ) -> AbstractContextManager[str | None]:
        """A span for the length of the block, joined to the traces that what is in the batch
        came from; an error that leaves the block marks it. Gives the span's own traceparent;
        None where none is made, as of an empty batch. `traceparents` may not be looked at."""


class NoBatchSpans:
    """Where nobody traces."""

    def batch(self, _: Iterable[str | None], __: int, /) -> AbstractContextManager[str | None]:
        return nullcontext()
