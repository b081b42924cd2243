"""What the relay tells about itself. Telemetry brings an object with these methods."""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol, TypeAlias

Phase: TypeAlias = Literal["stopped", "standby", "starting", "publishing", "unavailable"]


class RelayStatus(NamedTuple):
    """For readiness. `problem` is a sentence, and only `unavailable` has one."""

    phase: Phase
    problem: str | None = None


class RelayMetrics(Protocol):
    """Called by the relay as things happen; must not block or raise."""

    def begins(self, position: int) -> None:
        """This process goes on publishing from here: all up to `position` is published."""

    def published(self, position: int, events: int) -> None:
        """A batch of `events` was acknowledged and recorded, up to `position`."""

    def lag(self, events: int, seconds: float) -> None:
        """How far the log is ahead, and for how long it has been without a pause."""

    def active(self, is_active: bool) -> None:
        """Whether this process is the one that publishes."""

    def failed(self, code: str, detail: str) -> None:
        """Publishing broke off and will be tried again; both are those of Unavailable."""


class NoMetrics:
    """For tests, and where nobody looks."""

    def begins(self, position: int) -> None: ...

    def published(self, position: int, events: int) -> None: ...

    def lag(self, events: int, seconds: float) -> None: ...

    def active(self, is_active: bool) -> None: ...

    def failed(self, code: str, detail: str) -> None: ...
