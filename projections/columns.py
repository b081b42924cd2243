"""Rows as columns, in the forms in which the read model's functions take them; pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from service.errors import Corrupt


def lines(values: Sequence[object]) -> str:
    """A column as text. Raises Corrupt for a value that would not stay one line."""
    text = "\n".join(["null" if value is None else str(value) for value in values])
    if text.count("\n") != max(0, len(values) - 1):
        raise Corrupt("a line break in an id, a currency or a document")
    return text


def array(numbers: Iterable[int]) -> str:
    """An array as text."""
    return "{" + ",".join(map(str, numbers)) + "}"


def transposed(rows: Sequence[tuple[object, ...]], width: int) -> list[Sequence[object]]:
    """Rows as columns."""
    return list(zip(*rows, strict=True)) if rows else [()] * width
