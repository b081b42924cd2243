"""What was found of a deleted customer, and whether that is all right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Finding:
    """One place: how much of it names the customer, and how much tells about a person.

    `clear_at`: by then what is readable is gone, as Kafka's retention has it; None = never.
    """

    place: str
    held: int
    readable: int
    clear_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """`unclean`: tables whose dead rows the server has not cleaned up since the deletion."""

    customer_id: str
    tenant: str
    deleted_at: datetime | None  # None = not deleted
    findings: Sequence[Finding]
    unclean: Sequence[str]

    @property
    def is_forgotten(self) -> bool:
        """Nothing readable is left, but for what goes by itself at `clear_at`."""
        stays = any(each.readable and each.clear_at is None for each in self.findings)
        return self.deleted_at is not None and not stays

    @property
    def clear_at(self) -> datetime | None:
        """When the last of it is gone by itself; None = it is gone, or stays."""
        times = [each.clear_at for each in self.findings if each.clear_at is not None]
        return max(times) if times and self.is_forgotten else None
