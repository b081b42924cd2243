"""Pure functions that bring stored JSON of an old event version to the next one.

Invariant: one upcaster per (type, from version), each a single step; the chain of steps ends at the
version that the model in `events.py` has today. Nothing stored is ever rewritten.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import orjson

from service.errors import Corrupt

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"
Upcaster: TypeAlias = "Callable[[dict[str, Json]], dict[str, Json]]"

UPCASTERS: Mapping[tuple[str, int], Upcaster] = {}
"""Empty today: every event type is still at version 1."""


def upcast(
    type_name: str,
    from_version: int,
    to_version: int,
    data: str | bytes,
    upcasters: Mapping[tuple[str, int], Upcaster] = UPCASTERS,
) -> bytes:
    """JSON of `from_version` as JSON of `to_version`. Raises Corrupt where a step is missing."""
    if from_version > to_version:
        raise Corrupt(f"{type_name} v{from_version} was written by a newer release than this one")
    document: dict[str, Json] = orjson.loads(data)
    for version in range(from_version, to_version):
        step = upcasters.get((type_name, version))
        if step is None:
            raise Corrupt(f"no upcaster for {type_name} v{version}")
        document = step(document)
    return orjson.dumps(document)
