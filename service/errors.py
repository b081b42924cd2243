"""The one tree of errors that callers can act on.

Invariant: data travels as attributes, never inside a message that somebody must parse; personal
data travels nowhere. `http` alone chooses a status for each, consumers alone choose a dead letter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from typing_extensions import override


class CustomersError(Exception):
    """The root. Nothing raises it directly."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with an input.

    `pointer` is a JSON Pointer (RFC 6901) into the body, or the name of a query parameter;
    `code` is stable and machine-readable; `detail` is a sentence without the offending value.
    """

    pointer: str
    code: str
    detail: str


class Rejected(CustomersError):
    """The command can never succeed as it stands; all its faults at once."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("; ".join(f"{fault.pointer}: {fault.code}" for fault in faults))
        self.faults = tuple(faults)


class NotFound(CustomersError):
    """What was named is not there, for this tenant.

    `code`: `customer_not_found`, `customer_deleted`, `address_not_found`.
    """

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Conflict(CustomersError):
    """The command lost against the present state and may succeed later or after a change.

    `code`: `email_taken`, `version_conflict`, `idempotency_key_reused`, `idempotency_in_flight`.
    """

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class PreconditionFailed(CustomersError):
    """The caller named versions, and the stream's version is none of them."""

    def __init__(self, current_version: int) -> None:
        super().__init__(f"the current version is {current_version}")
        self.current_version = current_version


class Unavailable(CustomersError):
    """Something we depend on is down, slow or full; the same request may be tried again.

    `code`: `database_unavailable`, `database_not_ready`, `broker_unavailable`,
    `issuer_unavailable`, `master_key_outdated`, `overloaded`, `projection_lag`.
    """

    def __init__(self, code: str, detail: str, *, retry_after_seconds: int = 1) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.retry_after_seconds = retry_after_seconds

    @override
    def __str__(self) -> str:
        return f"{self.code}: {self.detail}"


class ConnectionLost(Unavailable):
    """The link to the database broke under a statement: it may or may not have been carried out."""


class RolledBack(Unavailable):
    """The database undid a statement for the sake of another one, as in a deadlock: nothing was
    carried out, and the same statement may be sent again at once."""


class Corrupt(CustomersError):
    """What is stored cannot be what we stored: never repaired silently, never guessed at."""


class ConfigurationError(CustomersError):
    """A setting, key or migration is wrong; the message is the one clear sentence to show."""


class RightMissing(ConfigurationError):
    """The database refuses our user what it needs for its work; the message says which right."""


class EventsArchived(ConfigurationError):
    """What is asked for needs events that an operator has taken out of the database.

    `last`: the position up to which they are archived. Never passed over: a reader that goes on
    behind it would miss them.
    """

    def __init__(self, last: int) -> None:
        super().__init__(
            f"The events of positions 1 to {last:,} are archived. Later ones can be read; an"
            " operator brings these back with `customers log attach`."
        )
        self.last = last
