"""Statements by name, from files of SQL beside the code that uses them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


def load_statements(package: str, file: str) -> Mapping[str, str]:
    """The statements of `sql/FILE` in a package, by name; each begins with `-- name: NAME`."""
    text = (files(package) / "sql" / file).read_text(encoding="utf-8")
    pieces = _NAME.split(text)
    return dict(zip(pieces[1::2], (piece.strip() for piece in pieces[2::2]), strict=True))
