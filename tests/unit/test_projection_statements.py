"""The statement that writes a whole batch is the three that write its parts."""

from __future__ import annotations

import re

import pytest

from projections.versions import statements

SQL = statements("customers.sql", 1)
ARGUMENTS_BEFORE = {"apply": 0, "apply_listing": 27, "apply_counts": 51}


@pytest.mark.parametrize(("name", "before"), ARGUMENTS_BEFORE.items())
def test_the_whole_calls_each_part_as_the_part_is_called(name: str, before: int) -> None:
    alone = SQL[name].removeprefix("SELECT ").removesuffix(";")
    renumbered = re.sub(r"\$(\d+)", lambda found: f"${int(found[1]) + before}", alone)
    assert _plain(renumbered) in _plain(SQL["apply_all"])


def test_the_whole_takes_no_other_arguments() -> None:
    numbers = [int(number) for number in re.findall(r"\$(\d+)", SQL["apply_all"])]
    assert sorted(numbers) == list(range(1, 59))


def _plain(sql: str) -> str:
    return re.sub(r"\s+", "", re.sub("--.*", "", sql))
