"""The named statements of both packages, as text."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]
CHANGES = re.compile(r"\b(INSERT INTO|UPDATE|DELETE FROM)\b")


def statements() -> dict[str, list[str]]:
    """FILE: NAME of each, by what it says without comments and line breaks."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(ROOT.glob("*/sql/*.sql")):
        if path.is_relative_to(ROOT / "tests"):
            continue
        for piece in path.read_text(encoding="utf-8").split("-- name: ")[1:]:
            name, _, text = piece.partition("\n")
            words = re.sub(r"--.*", "", text).split()
            found[" ".join(words)].append(f"{path.name}: {name}")
    return found


def test_what_changes_rows_is_said_in_one_place() -> None:
    found = statements()
    assert len(found) > 100
    repeated = [places for text, places in found.items() if CHANGES.search(text) if places[1:]]
    assert repeated == []
