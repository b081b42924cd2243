"""What is traced of appending. Telemetry brings an object with these methods."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Protocol

from service.appender.queue import Answer


class CommandSpan(Protocol):
    """One command, from joining the queue to its answer."""

    @property
    def traceparent(self) -> str: ...

    def goes_with(self, batch: str) -> None:
        """It is in the batch of this traceparent now."""

    def end(self, answer: Answer) -> None:
        """It is answered."""


class AppendSpans(Protocol):
    """Must not block or raise."""

    def command(self, traceparent: str | None) -> CommandSpan | None:
        """`traceparent` is that of the request; None where its trace is not kept."""

    def batch(
        self, traceparents: Iterable[str | None], size: int, /
    ) -> AbstractContextManager[str | None]:
        """For the length of the block, joined to the commands in it; gives its traceparent."""
