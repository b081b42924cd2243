"""Small charts from the log's own minutes, as rectangles for SVG; pure.

Invariant: a bar is drawn from positions alone. What of it has been passed by and what still waits
is arithmetic, so a chart of a part that stands still fills up, whatever the part says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from service.standing import Minute, Part

BAR_WIDTH = 8
GAP = 2
HEIGHT = 100
_LEAST = 3  # of a minute that is not empty: one event beside a million must show


@dataclass(frozen=True, slots=True)
class Bar:
    """One minute, in the chart's units; y grows downwards. `waiting` lies on top of the rest."""

    x: int
    y: float
    height: float
    waiting_height: float
    minute: Minute
    waiting: int


@dataclass(frozen=True, slots=True)
class Chart:
    """`most`: the events of the busiest minute, which is as high as the chart."""

    bars: Sequence[Bar]
    width: int
    most: int
    total: int
    waiting: int  # of these minutes' events

    @property
    def begins(self) -> Minute:
        return self.bars[0].minute


def chart(minutes: Sequence[Minute], part: Part | None = None) -> Chart:
    """Events by minute; with a part, what it has not come to is told apart."""
    most = max(minute.events for minute in minutes)
    bars = [_bar(place, minute, most, part) for place, minute in enumerate(minutes)]
    return Chart(
        bars=bars,
        width=len(bars) * (BAR_WIDTH + GAP) - GAP,
        most=most,
        total=sum(minute.events for minute in minutes),
        waiting=sum(bar.waiting for bar in bars),
    )


def _bar(place: int, minute: Minute, most: int, part: Part | None) -> Bar:
    waiting = minute.waiting(part) if part is not None else 0
    height = max(_LEAST, HEIGHT * minute.events / most) if minute.events else 0.0
    waiting_height = height * waiting / minute.events if minute.events else 0.0
    return Bar(
        x=place * (BAR_WIDTH + GAP),
        y=round(HEIGHT - height, 2),
        height=round(height, 2),
        waiting_height=round(waiting_height, 2),
        minute=minute,
        waiting=waiting,
    )
