"""What the intake tells about itself. Telemetry brings an object with these methods."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple, Protocol, TypeAlias

Phase: TypeAlias = Literal["stopped", "starting", "running", "unavailable"]


class IntakeStatus(NamedTuple):
    """For readiness. `problem` is a sentence, and only `unavailable` has one."""

    phase: Phase
    problem: str | None = None


class IntakeMetrics(Protocol):
    """Called by the worker as things happen; must not block or raise."""

    def taken_in(self, outcomes: Mapping[str, int]) -> None:
        """A batch was judged, and what is to be recorded is in the log: how many messages had which
        outcome, or became dead letters for which reason."""

    def dead(self, reason: str, messages: int) -> None:
        """Messages became dead letters; `reason` is a code."""

    def lag(self, messages: int) -> None:
        """How many messages of the whole topic are not committed, whoever reads them: every worker
        tells the same. A few more where there are transactions: markers have places too."""

    def oldest_dead_letter(self, age_seconds: float) -> None:
        """Of those that were not put back yet; 0 when there are none."""

    def failed(self, code: str) -> None:
        """Taking in broke off and will be tried again; `code` is that of Unavailable."""


class NoMetrics:
    """For tests, and where nobody looks."""

    def taken_in(self, outcomes: Mapping[str, int]) -> None: ...

    def dead(self, reason: str, messages: int) -> None: ...

    def lag(self, messages: int) -> None: ...

    def oldest_dead_letter(self, age_seconds: float) -> None: ...

    def failed(self, code: str) -> None: ...
