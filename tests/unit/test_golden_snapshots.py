"""Every snapshot ever written can be read for as long as its partition is archived.

The files in tests/golden are never edited: a state with other fields gets a schema version, and a
file, of its own.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest

from service.customer import fold
from service.errors import Corrupt
from service.events import Position, Version
from service.identifiers import CustomerId
from service.snapshots import SNAPSHOT_SCHEMA, Snapshot, decode_state, encode_state
from service.upcasters import Json

GOLDEN = Path(__file__).parent.parent / "golden"
MOMENT = datetime(2024, 6, 16, 8, tzinfo=UTC)


def read(schema_version: int) -> dict[str, Json]:
    document: dict[str, Json] = orjson.loads(
        (GOLDEN / f"snapshot.v{schema_version}.json").read_bytes()
    )
    return document


@pytest.mark.parametrize("schema_version", range(1, SNAPSHOT_SCHEMA + 1))
def test_a_stored_snapshot_still_means_the_same(schema_version: int) -> None:
    document = read(schema_version)
    state = decode_state(schema_version, orjson.dumps(document["data"]))
    place = Version(9), Position(90), MOMENT
    customer = fold([Snapshot(CustomerId("cust_1"), "default", *place, state)])
    assert customer is not None
    assert orjson.loads(customer.document("USD").json_bytes()) == document["shows"]


def test_a_snapshot_is_written_as_it_always_was() -> None:
    """So a release that was there before reads what this one writes."""
    data = read(SNAPSHOT_SCHEMA)["data"]
    written = encode_state(decode_state(SNAPSHOT_SCHEMA, orjson.dumps(data)))
    assert orjson.loads(written) == data


def test_a_snapshot_from_the_future_is_corrupt() -> None:
    with pytest.raises(Corrupt):
        decode_state(SNAPSHOT_SCHEMA + 1, orjson.dumps(read(SNAPSHOT_SCHEMA)["data"]))
