"""What was found of a deleted customer, and whether that is all right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Finding:
    """One place: how much of it names the customer, and how much tells about a person.

    `clear_at`: by then what is readable is gone, as the topic's own settings have it; None = never.
    `note` says what went wrong there.
    """

    place: str
    held: int
    readable: int
    clear_at: datetime | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """As of `made_at`. `unclean`: tables that may have dead rows from before the deletion."""

    customer_id: str
    tenant: str
    made_at: datetime
    deleted_at: datetime | None  # None = not deleted
    findings: Sequence[Finding]
    unclean: Sequence[str]

    @property
    def left(self) -> list[Finding]:
        """What is readable and does not go by itself, or should be gone by now."""
        return [
            each
            for each in self.findings
            if each.readable and (each.clear_at is None or each.clear_at <= self.made_at)
        ]

    @property
    def going(self) -> list[Finding]:
        """What is readable and goes by itself, in time."""
        return [each for each in self.findings if each.readable and each not in self.left]

    @property
    def is_forgotten(self) -> bool:
        return self.deleted_at is not None and not self.left

    @property
    def clear_at(self) -> datetime | None:
        """When the last of it is gone by itself; None = it is gone, or stays."""
        times = [each.clear_at for each in self.going if each.clear_at is not None]
        return max(times) if times and self.is_forgotten else None
