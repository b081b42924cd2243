"""Makes the list choose every way of reading that it has, and notes which ones it took.

Invariant: only the numbers that plans are chosen by are made up, and those choose how a list is
read, never what it says. So whatever is made up here, answers have to stay the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from random import Random
from unittest.mock import patch

from service.postgres import load_statements
from service.queries import known_counts, list_matches, list_plan, list_rows, list_statement
from service.queries.list_reader import ListReader
from service.queries.list_rows import is_read_in_halves
from service.queries.list_shape import Shape
from service.queries.pieces import Statement, piece
from service.queries.population import Members, Population

NUMBERS = (0, 1, 10, 30, 100, 10_000, 10**6)
DEEP_OFFSET_ROWS = 5
SCANNED_CUSTOMERS_MIN = 100
MADE_EARLY = {"and", "is_not_cut"}  # put in where no statement is watched: when modules are loaded


@dataclass
class Taken:
    """What was taken: ways of reading pages, of counting alone, and walks that ended too early."""

    pages: set[Shape] = field(default_factory=set)
    counts: set[Shape] = field(default_factory=set)
    cut_walks: int = 0

    def ways(self) -> set[tuple[str, str]]:
        """Route and paging of each."""
        return {(shape.route, shape.paging) for shape in self.pages}

    def ways_in_halves(self) -> set[tuple[str, tuple[bool, ...]]]:
        """Of walks that read what has a value apart: the paging, and after which cursor's row."""
        halves = {shape for shape in self.pages if is_read_in_halves(shape)}
        return {(shape.paging, shape.after[:1]) for shape in halves}

    def pieces(self) -> set[str]:
        """The pieces of SQL that the statements were put together from."""
        used: set[str] = set()

        def noted(name: str, **inner: str | int) -> str:
            used.add(name)
            return piece(name, **inner)

        with ExitStack() as patches:
            for module in (list_matches, list_rows, list_statement):
                patches.enter_context(patch.object(module, "piece", noted))
            for shape in self.pages:
                list_statement.list_statement.__wrapped__(shape)
            for shape in self.counts:
                list_statement.count_statement.__wrapped__(shape)
        return used


def every_piece() -> set[str]:
    """Those that statements can be put together from."""
    return set(load_statements("service", "queries_list.sql")) - MADE_EARLY


@contextmanager
def taking_any_way(seed: int) -> Iterator[Taken]:
    """Within the block, plans are chosen by numbers that are chance; what was taken is noted."""
    choose, taken = Random(seed), Taken()

    async def members(self: Population, tenant: str, tags: Sequence[str] = ()) -> list[Members]:
        return [Members(choose.choice(NUMBERS), choose.choice(NUMBERS)) for _ in (tenant, *tags)]

    with ExitStack() as patches:
        for target, name, value in (
            (Population, "members", members),
            (list_plan, "DEEP_OFFSET_ROWS", DEEP_OFFSET_ROWS),
            (list_plan, "SCANNED_CUSTOMERS_MIN", SCANNED_CUSTOMERS_MIN),
            (known_counts, "DEAR_SECONDS", 0.0),
        ):
            patches.enter_context(patch.object(target, name, value))
        patches.enter_context(noting(taken))
        yield taken


@contextmanager
def noting(taken: Taken) -> Iterator[None]:
    """Within the block, note what is taken, and change nothing."""
    remember = ListReader._remember_cut

    def remember_cut(self: ListReader, walk: object) -> None:
        taken.cut_walks += 1
        remember(self, walk)

    reader = "service.queries.list_reader"
    with (
        patch(f"{reader}.list_statement", _noted(taken.pages, list_statement.list_statement)),
        patch(f"{reader}.count_statement", _noted(taken.counts, list_statement.count_statement)),
        patch.object(ListReader, "_remember_cut", remember_cut),
    ):
        yield


def _noted(shapes: set[Shape], make: Callable[[Shape], Statement]) -> Callable[[Shape], Statement]:
    def made(shape: Shape) -> Statement:
        shapes.add(shape)
        return make(shape)

    return made
