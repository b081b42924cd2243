"""Exports in this process, and what is in their files, read without the service."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from pyarrow import parquet

from service.event_log import EventLog
from service.log_export import Chunk, Format, Written, export_chunk
from service.postgres import Postgres
from tests.support.vaults import VAULT

Line = dict[str, object]

# So many events of nobody's secret, as if they had been appended: fast, for exports that take long.
MANY_EVENTS = """
INSERT INTO log.event (
    position, id, tenant, customer_id, version, type, schema_version, data, meta, recorded_at)
SELECT head.position + number, gen_random_uuid(), 'default', 'cust_many', number,
       'customer.tagged', 1, '{"tags":["vip"]}',
       '{"actor":{"type":"token","id":"tok_1"},"requestId":"r"}', now()
FROM log.head, generate_series(1, $1::bigint) AS number
"""
HEAD_MOVES = "UPDATE log.head SET position = position + $1"


async def append_many(postgres: Postgres, events: int) -> None:
    await postgres.execute(MANY_EVENTS, events)
    await postgres.execute(HEAD_MOVES, events)


async def export(
    postgres: Postgres,
    folder: Path,
    *,
    format_: Format = "jsonl",
    first: int = 1,
    last: int | None = None,
    tenant: str | None = None,
    personal_data: bool = True,
    file_bytes_max: int = 1_000_000_000,
) -> Written:
    head = await EventLog(postgres).head()
    chunk = Chunk(
        folder=folder,
        format=format_,
        epoch=head.epoch,
        tenant=tenant,
        personal_data=personal_data,
        first=first,
        last=last or head.position,
    )
    vault = VAULT if personal_data else None
    return await export_chunk(postgres, vault, chunk, file_bytes_max=file_bytes_max)


def lines_in(folder: Path, names: Sequence[str]) -> list[Line]:
    return [json.loads(line) for name in names for line in _lines(folder / name)]


def rows_in(folder: Path, names: Sequence[str]) -> list[Line]:
    """Rows of Parquet in the form of the lines of JSON."""
    return [
        _as_line(row) for name in names for row in parquet.read_table(folder / name).to_pylist()
    ]


def _lines(path: Path) -> Iterator[bytes]:
    text = path.read_bytes()
    assert text.endswith(b"\n") or not text
    yield from text.split(b"\n")[:-1]


def _as_line(row: dict[str, object]) -> Line:
    time = row["time"]
    line: Line = {
        "position": row["position"],
        "epoch": row["epoch"],
        "id": row["id"],
        "type": row["type"],
        "tenant": row["tenant"],
        "customerId": row["customer_id"],
        "version": row["version"],
        "time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "actor": {name: row[f"actor_{name}"] for name in ("type", "id", "name")},
        "data": json.loads(row["data"]),
    }
    return line | {name: True for name in ("forgotten", "damaged") if row[name]}
