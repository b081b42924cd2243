"""What commands print: data for programs on stdout, words for people on stderr.

Invariant: nothing but data ever goes to stdout, so every command can stand in a pipe.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import TypeAlias

from service.errors import CustomersError

EXIT_FAILED = 1  # found or failed
EXIT_WRONG_USE = 2

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"


class Failed(CustomersError):
    """A command could not do its work; the message is the one clear sentence to show."""


def say(text: str) -> None:
    """Tell people."""
    print(text, file=sys.stderr, flush=True)


def print_data(text: str) -> None:
    print(text, flush=True)


def print_json(document: Json) -> None:
    """One document on one line."""
    print(json.dumps(document, separators=(",", ":"), ensure_ascii=False), flush=True)


def print_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table in a terminal; elsewhere lines with tabs, without headers."""
    if not sys.stdout.isatty():
        for row in rows:
            print("\t".join(row))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for header in headers:
        table.add_column(header, overflow="fold")  # what is cut off cannot be copied
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def moment(time: datetime | None) -> str:
    """A time for people and programs alike: RFC 3339 in UTC."""
    return "" if time is None else time.strftime("%Y-%m-%dT%H:%M:%SZ")
