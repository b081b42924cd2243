"""From the one row of a list's statement to the finished answer.

Invariant: items are joined as they were stored; nothing is encoded anew for a request.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import orjson

from service.events import Position
from service.queries.cursor import KeyValue
from service.queries.progress import Mark


class Listed(NamedTuple):
    """A finished list body, JSON in UTF-8, and how much of the log it shows."""

    body: bytes
    position: Position


class Answer(NamedTuple):
    """The row. `items` are in the order in which they were read: at most one too many."""

    mark: Mark
    matches: int
    is_cut: bool
    items: list[str]
    last_id: str | None
    last_keys: tuple[KeyValue, ...]

    @classmethod
    def empty(cls, mark: Mark) -> Answer:
        return cls(mark, 0, False, [], None, ())

    def reversed(self) -> Answer:
        """Of rows that were read last one first."""
        return self._replace(items=self.items[::-1])


def answer(
    mark: Sequence[int],
    matches: int,
    is_cut: bool,
    items: list[str] | None,
    last_id: str | None,
    *last_keys: KeyValue,
) -> Answer:
    """The row from its columns; without rows there are no arrays."""
    return Answer(Mark(*mark), matches, is_cut, items or [], last_id, last_keys)


def counted(mark: Sequence[int], matches: int) -> tuple[Mark, int]:
    """The row of a count alone, from its columns."""
    return Mark(*mark), matches


def body(
    *, count: int, page: int, display: int, next_cursor: str | None, items: Sequence[str]
) -> bytes:
    """The list as callers get it."""
    cursor = "null" if next_cursor is None else orjson.dumps(next_cursor).decode()
    head = f'{{"count":{count},"page":{page},"display":{display},"nextCursor":{cursor},"models":['
    # Encoded before it is joined: all of it as text, often four bytes a character, never exists.
    return b"".join([head.encode(), b",".join([item.encode() for item in items]), b"]}"])
