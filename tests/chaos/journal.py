"""What a writer sent and what it was answered: the ledger of writes, a line each.

Invariant: every attempt has a request id of its own, which the log keeps with the events; so each
event can be told apart by who asked for it, and how often it was carried out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import orjson

NO_ANSWER = 0


@dataclass(slots=True)
class Attempt:
    """`status` 0: sent, and no answer came."""

    request_id: str
    status: int
    code: str = ""  # of a problem

    @property
    def is_ambiguous(self) -> bool:
        """It may have been carried out, or may be later; a limit that is full did nothing."""
        if self.status == NO_ANSWER or self.code == "idempotency_in_flight":
            return True
        return self.status >= 500 and self.code != "overloaded"


@dataclass(slots=True)
class Write:
    """One thing that a writer wanted. `allowed` are the codes of refusals that are no surprise,
    with "" for a success."""

    kind: str
    method: str
    path: str
    body: object
    key: str
    if_match: int | None = None
    allowed: list[str] = field(default_factory=lambda: [""])
    changes: bool = True  # False: must leave no event, though it is answered with success
    repeats: str = ""  # the key of the write that this one repeats
    attempts: list[Attempt] = field(default_factory=list)
    version: int = 0  # as answered: the ETag
    position: int = 0  # as answered: Log-Position
    epoch: str = ""
    is_replayed: bool = False
    shown: object = None  # the body that was answered
    fault: str = ""  # what the writer itself found wrong with the answer

    @property
    def last(self) -> Attempt:
        return self.attempts[-1]

    @property
    def is_acknowledged(self) -> bool:
        return bool(self.attempts) and 200 <= self.last.status < 300

    @property
    def is_refused(self) -> bool:
        """Every attempt was: 4xx and limits."""
        return not self.is_acknowledged and not self.was_ambiguous

    @property
    def was_ambiguous(self) -> bool:
        return any(attempt.is_ambiguous for attempt in self.attempts)

    @property
    def customer_id(self) -> str:
        """Empty for a creation that was not acknowledged."""
        if self.path != "/user":
            return self.path.split("/")[2]
        return str(self.shown["id"]) if isinstance(self.shown, dict) else ""


def save(path: Path, writes: Iterable[Write]) -> None:
    with path.open("wb") as file:
        for write in writes:
            file.write(orjson.dumps(write) + b"\n")


def load(path: Path) -> list[Write]:
    with path.open("rb") as file:
        lines = [orjson.loads(line) for line in file]
    return [
        Write(**{**line, "attempts": [Attempt(**each) for each in line["attempts"]]})
        for line in lines
    ]
