"""What the driver raises, as errors of ours.

Invariant: the driver's own texts may quote values, names of hosts or users: none of them gets into
ours, but for the name of what a right is missing for.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from service.errors import (
    ConfigurationError,
    ConnectionLost,
    Corrupt,
    CustomersError,
    RightMissing,
    RolledBack,
    Unavailable,
)
from service.postgres.sqlstates import (
    NOT_LET_IN,
    NOT_MIGRATED,
    NOT_PREPARED,
    REFUSED,
    ROLLED_BACK,
    is_lost,
)
from service.tls import is_of_our_files, why_no_tls

_CLOSED = "The database ended the link before it let us in: it stops, or refuses our certificate."
_RIGHT_MISSING = re.compile(r"(permission denied for|must be owner of) [a-z ]+ \"?[\w.-]+\"?")
LINK_BROKE = (
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # what a link cut at a bad moment looks like
    ConnectionError,
    TimeoutError,
)


class ConstraintViolated(Corrupt):
    """A named constraint refused a write; owners map `constraint`, its name, to their errors."""

    def __init__(self, constraint: str) -> None:
        super().__init__(f"constraint {constraint} was violated")
        self.constraint = constraint


@contextmanager
def our_errors() -> Iterator[None]:
    """Every error of a statement that was sent, as one of ours.

    The driver's own texts may quote values, which may be personal: those errors are not chained.
    """
    try:
        yield
    except asyncpg.PostgresError as error:
        ours = _as_ours(error)
        raise ours from (error if isinstance(ours, Unavailable) else None)
    except LINK_BROKE as error:
        raise ConnectionLost("database_unavailable", "The database did not answer.") from error


def _as_ours(error: asyncpg.PostgresError) -> CustomersError:
    """Invariant: Corrupt is for values and definitions that are wrong, and stay so when tried
    again; what is wrong with server or moment is Unavailable; a missing right is neither."""
    state = error.sqlstate or ""
    if isinstance(error, asyncpg.IntegrityConstraintViolationError):
        return ConstraintViolated(str(error.constraint_name))
    if is_lost(state):
        return ConnectionLost("database_unavailable", "The database did not answer.")
    if state in ROLLED_BACK:
        return RolledBack("database_unavailable", "The database refuses work.")
    if state in NOT_MIGRATED:
        return Unavailable("database_not_ready", "The database is not migrated.")
    if state in NOT_PREPARED:
        detail = (
            f"The database loses prepared statements ({state}), as behind PgBouncer: set"
            " CUSTOMERS_DATABASE_STATEMENT_CACHE=false."
        )
        return Unavailable("database_unavailable", detail)
    if isinstance(error, asyncpg.InsufficientPrivilegeError):
        return _right_missing(error)
    # A plan from before a migration, in a transaction: the next one makes a new plan.
    is_outdated = isinstance(error, asyncpg.InvalidCachedStatementError)
    if is_outdated or state[:2] in REFUSED:
        return Unavailable("database_unavailable", "The database refuses work.")
    return Corrupt(f"the database refused a statement ({state})")


def _right_missing(error: asyncpg.PostgresError) -> RightMissing:
    """The server's text names what was refused, in English at least; any other text stays out."""
    said = _RIGHT_MISSING.match(str(error))  # a detail may follow
    return RightMissing(
        f"The database refuses its user a right{f' ({said[0]})' if said else ''}: run `customers"
        " migrate` as the database's owner, and grant the user the role of its process."
    )


def unreachable(error: Exception) -> CustomersError:
    if isinstance(error, asyncpg.InsufficientPrivilegeError):
        return _right_missing(error)
    if isinstance(error, ssl.SSLError) and is_of_our_files(error):
        return ConfigurationError("A certificate or key for PostgreSQL cannot be used.")
    return Unavailable("database_unavailable", _why(error))


def _why(error: Exception) -> str:
    """There is no connection. Without names of hosts or users: callers may be told, too."""
    match error:
        case asyncpg.PostgresError(sqlstate=str(state)) if state[:2] in NOT_LET_IN:
            return f"The database server {REFUSED[state[:2]]}."
        case asyncpg.ConnectionDoesNotExistError() | ConnectionResetError():
            return _CLOSED
        case ssl.SSLError():
            return why_no_tls(error, "The database")
        case ConnectionError() if "rejected SSL" in str(error):
            return "The database offers no TLS, which `sslmode` asks for."
        case _:
            return "The database cannot be reached."
