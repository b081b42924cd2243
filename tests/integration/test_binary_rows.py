"""Rows as we encode them for COPY, beside what PostgreSQL's driver makes of the same rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from projections.rebuild.binary_rows import encoded, integers
from service.errors import Corrupt
from service.postgres import Postgres, Transaction

TABLE = """
CREATE TABLE public.sample (
    number integer, long bigint, flag boolean, words text, moment timestamptz, numbers integer[]
)"""
COLUMNS = ("number", "long", "flag", "words", "moment", "numbers")
TYPES = ("integer", "bigint", "boolean", "text", "timestamptz", "ready")
ROWS = "SELECT number, long, flag, words, moment, numbers FROM public.sample ORDER BY number"

NOON = datetime(2026, 11, 26, 12, 0, 0, 123_000, UTC)
VALUES: list[tuple[int, int, bool, str | None, datetime | None, list[int]]] = [
    (0, 0, False, None, None, []),
    (1, 2**63 - 1, True, "", NOON, [7]),
    (2, -(2**63), True, "Zoë\t\\N\n李😀", NOON.replace(microsecond=1), [-(2**31), 0, 2**31 - 1]),
    (3, -1, False, "x" * 100_000, datetime(1, 1, 1, tzinfo=UTC), list(range(1_000))),
    (4, 1, True, "null", datetime(9999, 12, 31, 23, 59, 59, 999_999, UTC), [1, 1]),
    (5, 1, True, "{}", NOON.astimezone(timezone(timedelta(hours=-7))), [3, 2]),
    (2**31 - 1, 1, True, "1999", datetime(1999, 12, 31, 23, 59, 59, 1, UTC), [0]),
]


async def _copied(transaction: Transaction) -> list[tuple[object, ...]]:
    rows = await transaction.fetch(lambda *row: row, ROWS)
    await transaction.execute("TRUNCATE public.sample")
    return rows


async def test_what_we_encode_is_what_the_driver_does(database: str) -> None:
    ours = [(*row[:5], integers(row[5])) for row in VALUES]
    async with Postgres.connect(database) as postgres, postgres.transaction() as transaction:
        await transaction.execute(TABLE)
        await transaction.copy_in("public", "sample", COLUMNS, VALUES)
        theirs = await _copied(transaction)
        data = encoded(TYPES, ours)
        await transaction.copy_in_encoded("public", "sample", COLUMNS, data)
        assert await _copied(transaction) == theirs
        assert len(theirs) == len(VALUES)


async def test_much_goes_in_pieces(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("projections.rebuild.binary_rows.ROWS_AT_ONCE", 7)
    data = encoded(TYPES, [(n, n, True, "word", NOON, integers([n])) for n in range(100)])
    async with Postgres.connect(database) as postgres, postgres.transaction() as transaction:
        await transaction.execute(TABLE)
        await transaction.copy_in_encoded("public", "sample", COLUMNS, data)
        assert [row[0] for row in await _copied(transaction)] == list(range(100))


@pytest.mark.parametrize(("kind", "value"), [("integer", 2**31), ("bigint", -(2**63) - 1)])
def test_a_number_that_no_column_holds_is_refused(kind: str, value: int) -> None:
    with pytest.raises(Corrupt):
        encoded([kind], [(value,)])


async def test_a_text_that_the_database_refuses_is_refused(database: str) -> None:
    data = encoded(["text"], [("zero \0",)])
    async with Postgres.connect(database) as postgres:
        await postgres.execute(TABLE)
        async with postgres.transaction() as transaction:
            with pytest.raises(Corrupt):
                await transaction.copy_in_encoded("public", "sample", ["words"], data)
