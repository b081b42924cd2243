"""What the projection tells about itself. Telemetry brings an object with these methods."""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol, TypeAlias

Phase: TypeAlias = Literal["stopped", "starting", "running", "unavailable"]


class ProjectionStatus(NamedTuple):
    """For readiness. `problem` is a sentence, and only `unavailable` has one."""

    phase: Phase
    problem: str | None = None


class ProjectionMetrics(Protocol):
    """Called by the worker as things happen; must not block or raise."""

    def applied(self, events: int) -> None:
        """A transaction has applied so many events; repeats and waiting ones among them."""

    def skipped(self, events: int) -> None:
        """Events were seen before, or wait because their customer is parked."""

    def healed(self, events: int) -> None:
        """Events that the feed lacked were read from the log."""

    def parked(self, reason: str) -> None:
        """A customer was parked; `reason` is a code."""

    def parked_now(self, customers: int) -> None:
        """So many customers are parked, whoever parked them."""

    def progress(self, position: int, lag_events: int, lag_seconds: float) -> None:
        """What all workers together show; how far the log is ahead; the age of the oldest event
        that is not shown yet."""

    def failed(self, code: str) -> None:
        """Applying broke off and will be tried again; `code` is that of Unavailable."""


class NoMetrics:
    """For tests, and where nobody looks."""

    def applied(self, events: int) -> None: ...

    def skipped(self, events: int) -> None: ...

    def healed(self, events: int) -> None: ...

    def parked(self, reason: str) -> None: ...

    def parked_now(self, customers: int) -> None: ...

    def progress(self, position: int, lag_events: int, lag_seconds: float) -> None: ...

    def failed(self, code: str) -> None: ...
