"""How far a long command is: a bar in a terminal, else a line now and then; always on stderr.

Invariant: a pipe or a file gets whole lines and no control characters.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from typing_extensions import override

from service.cli.output import say
from service.findings import Progress

LINE_SECONDS = 5.0  # between lines where nobody sits at a terminal


class _Lines:
    """For logs and pipes."""

    def __init__(self) -> None:
        self._part = ""
        self._total = self._done = 0
        self._began = self._told = monotonic()

    def begin(self, part: str, total: int) -> None:
        self._part, self._total, self._done = part, total, 0
        self._began = self._told = monotonic()

    def advance(self, count: int) -> None:
        self._done += count
        now = monotonic()
        if now - self._told >= LINE_SECONDS:
            self._told = now
            of_all = f"{self._part}: {self._done:,} of {self._total:,}"
            if not self._done:
                say(of_all)
                return
            rate = self._done / max(now - self._began, 1e-9)
            left = max(0, self._total - self._done) / rate
            say(f"{of_all}, {rate:,.0f} a second, {left:,.0f} s left")


class _Bars:
    """For people. rich is imported only where somebody looks."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            ProgressColumn,
            Task,
            TextColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as Display
        from rich.text import Text

        class Rate(ProgressColumn):
            @override
            def render(self, task: Task) -> Text:
                return Text(f"{task.finished_speed or task.speed or 0:,.0f}/s")

        self.display = Display(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            Rate(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )

    def begin(self, part: str, total: int) -> None:
        self.display.add_task(part, total=total)

    def advance(self, count: int) -> None:
        self.display.advance(self.display.task_ids[-1], count)


@contextmanager
def progress() -> Iterator[Progress]:
    """To be told by whatever works in the block."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    bars = _Bars()
    with bars.display:
        yield bars
