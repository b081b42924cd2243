"""Pure functions that bring stored JSON of an old event version to the next one, and back.

Invariants: one upcaster per (type, from version), each a single step; the chain of steps ends at
the version that the model in `events/models.py` has today. Nothing stored is ever rewritten. A
release that writes a version comes after one that reads it, so that the two can run side by side.
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

DOWNCASTERS: Mapping[tuple[str, int], Upcaster] = {}
"""By (type, version): to the version before it, in the one release that reads the new version and
does not write it yet. The upcaster gives back exactly what came in. Personal fields may be blank.

Not for orders, which the intake records: theirs is a migration in any case."""


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


def is_held_back(
    type_name: str,
    version: int,
    downcasters: Mapping[tuple[str, int], Upcaster] = DOWNCASTERS,
) -> bool:
    """Whether this release still writes the version before."""
    return (type_name, version) in downcasters


def downcast(
    type_name: str,
    version: int,
    data: str,
    downcasters: Mapping[tuple[str, int], Upcaster] = DOWNCASTERS,
) -> str:
    """JSON of a version that is held back as JSON of the version before."""
    return orjson.dumps(downcasters[type_name, version](orjson.loads(data))).decode()
