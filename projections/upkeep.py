"""What of the projections still needs old events: asked before these leave the database.

Invariant: whoever could ask for an event up to the position is named, also one that was made and
has never worked yet. Who is named must be let on first.
"""

from __future__ import annotations

from typing import NamedTuple

from service.postgres import Reader, load_statements

SQL = load_statements("projections", "upkeep.sql")


class _Behind(NamedTuple):
    name: str
    version: int
    position: int


async def still_needed(reader: Reader, position: int, *, has_states: bool) -> list[str]:
    """Sentences. `has_states`: there is a Kafka, and so a topic of states."""
    reasons = [
        f"the projection {name}_v{version} has applied up to position {reached:,}"
        for name, version, reached in await reader.fetch(
            _Behind, SQL["behind"], position, has_states
        )
    ]
    reasons += [
        f"version {version} of the read model is being built: let `customers rebuild` end, or"
        " --abandon it"
        for version in await reader.fetch(int, SQL["building"])
    ]
    (parked,) = await reader.fetch(int, SQL["parked"], position)
    if parked:
        reasons.append(f"{parked:,} customers are parked before it ends: `customers parked list`")
    (outdated,) = await reader.fetch(int, SQL["outdated"])
    if outdated and has_states:
        reasons.append(f"the states of {outdated:,} customers are still to be written")
    return reasons
