"""What is measured, and what it is held against.

Invariant: a figure is printed beside its target whatever it says; nothing is left out or rounded
in our favour.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Unit: TypeAlias = Literal[
    "requests/s", "events/s", "writes/s", "messages/s", "of page 1", "of its best", "MB"
]


@dataclass(frozen=True, slots=True)
class Target:
    """A bound on one of a figure's numbers; `customers` = from which size on it is meant."""

    measure: Literal["value", "ratio", "p99_ms"]
    limit: float
    is_ceiling: bool = False
    customers: int = 0

    def is_met(self, figure: Figure) -> bool:
        number = getattr(figure, self.measure)
        return number < self.limit if self.is_ceiling else number >= self.limit

    def text(self) -> str:
        sign = "<" if self.is_ceiling else "≥"
        number = f"{self.limit:,.0f}" if self.limit >= 10 else f"{self.limit:g}"
        bound = f"p99 {sign} {number} ms" if self.measure == "p99_ms" else f"{sign} {number}"
        return f"{bound} at {self.customers:,}" if self.customers else bound


@dataclass(frozen=True, slots=True)
class Figure:
    """One row of the report. `ratio` is to the bare handler in the same minute."""

    name: str
    title: str
    value: float
    unit: Unit
    p50_ms: float | None = None
    p99_ms: float | None = None
    ratio: float | None = None
    target: Target | None = None

    @property
    def verdict(self) -> str:
        """met, short, or nothing where there is no target."""
        if self.target is None:
            return ""
        return "met" if self.target.is_met(self) else "short"


MILLION = 1_000_000
LIST = Target("ratio", 0.25, customers=MILLION)
SEARCH = Target("ratio", 0.1, customers=MILLION)
CREATE = Target("ratio", 0.5)
GET = Target("ratio", 0.6)
DEPTH = Target("value", 0.9)  # a tenth is what two runs of the same differ by
RELAY = Target("value", 30_000)
CHANGES_PROJECTED = Target("value", 30_000)
CREATIONS_PROJECTED = Target("value", 8_000)
REBUILD = Target("value", 80_000, customers=MILLION)
EXPORT = Target("value", 150_000)
INTAKE = Target("value", 20_000)
OVERLOAD = Target("value", 0.9)
VISIBLE = Target("p99_ms", 100, is_ceiling=True)
