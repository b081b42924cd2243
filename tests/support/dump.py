"""Everything that a database holds, as bytes, to search for what must not be there.

Invariant: every column of every table of ours, and the planner's statistics; nothing is left out by
a name, so a new table is searched without a word here.
"""

from __future__ import annotations

from service.postgres import Postgres

TABLES = """
SELECT format('SELECT row_to_json(held)::text FROM %I.%I AS held', nspname, relname)
FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE relkind = 'r' AND nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema'
ORDER BY nspname, relname
"""
STATISTICS = "SELECT row_to_json(held)::text FROM pg_stats AS held ORDER BY 1"


async def dump(postgres: Postgres) -> bytes:
    """One row a line, as JSON; binary columns in hex and, where they are text, as that too."""
    lines: list[str] = []
    for statement in [*await postgres.fetch(str, TABLES), STATISTICS]:
        lines += await postgres.fetch(str, statement)
    text = "\n".join(lines)
    return text.encode() + b"".join(_unhexed(text))


def _unhexed(text: str) -> list[bytes]:
    """What stands in hex, as bytes."""
    pieces = text.split('"\\\\x')[1:]
    return [bytes.fromhex(piece.partition('"')[0]) for piece in pieces]
