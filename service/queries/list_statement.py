"""One statement for a list: how far the read model is, the count, and one page of finished items.

Invariant: it all comes from one snapshot, so position, count and rows belong together.
"""

from __future__ import annotations

from functools import lru_cache

from service.queries.list_matches import count
from service.queries.list_rows import rows
from service.queries.list_shape import Shape
from service.queries.pieces import Statement, numbered, piece

STATEMENTS_MAX = 1_024  # kept; others are put together anew


@lru_cache(STATEMENTS_MAX)
def list_statement(shape: Shape) -> Statement:
    """Its one row is: mark, count, is cut, items, last id, and the last row's sort keys."""
    found = rows(shape)
    last_keys = (piece("last_key", number=number + 1) for number in range(len(shape.sort)))
    text = piece(
        "answer",
        matched=found.matched,
        mark=piece("mark"),
        count=count(shape),
        is_cut=found.is_cut,
        last_keys="".join(last_keys),
        page=found.page,
    )
    return numbered(text)


@lru_cache(STATEMENTS_MAX)
def count_statement(shape: Shape) -> Statement:
    """Its one row is: mark, count."""
    return numbered(piece("count_alone", mark=piece("mark"), count=count(shape)))
