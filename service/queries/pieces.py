"""The pieces of `queries_list.sql`, and how they become one statement.

Invariant: what is put together contains no value: values are sent beside the statement, by name.
So nothing can be injected, and the server plans each text once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce

from service.postgres import load_statements

_PIECES: Mapping[str, str] = {
    name: "\n".join(line for line in text.splitlines() if not line.startswith("--"))
    for name, text in load_statements("service", "queries_list.sql").items()
}
_VALUE = re.compile(r"(?<!:):([a-z_]+[0-9]*)")


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL with $1, $2 …, which stand for the values of these names."""

    sql: str
    names: tuple[str, ...]

    def arguments(self, values: Mapping[str, object]) -> list[object]:
        return [values[name] for name in self.names]


def piece(name: str, **inner: str | int) -> str:
    """A piece, with other pieces or numbers in the place of its {names}."""
    return _PIECES[name].format(**inner)


def both(conditions: Iterable[str]) -> str:
    """All of them, joined by AND."""
    return reduce(lambda left, right: piece("and", left=left, right=right), conditions)


def numbered(text: str) -> Statement:
    """`:name` becomes `$1`, `$2` …, one number for one name."""
    numbers: dict[str, int] = {}
    sql = _VALUE.sub(lambda match: f"${numbers.setdefault(match[1], len(numbers) + 1)}", text)
    return Statement(sql, tuple(numbers))
