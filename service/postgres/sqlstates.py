"""What PostgreSQL's codes of errors mean to us. Source: PostgreSQL's documentation, appendix A.

Invariant: these are about server and moment, and may go away by themselves; a code that is not here
says that a value or a definition is wrong. The first two characters of a code are its class.
"""

from __future__ import annotations

REFUSED = {  # by class
    "25": "the transaction cannot go on: the server is read-only, or ended it for its age",
    "28": "does not let us in: user, password, or from where and how we connect, is wrong",
    "3D": "has no database of this name",
    "40": "rolled back for the sake of another transaction",
    "53": "out of disk, memory or connections",
    "55": "something is locked or in use",
    "57": "cancelled, or the server is starting or stopping",
    "58": "an error of input or output",
    "XX": "a fault inside the server",
}
ROLLED_BACK = {"40001", "40P01"}  # no order of two transactions was found; a deadlock
_LOST_CLASS = "08"
_LOST_STATES = {"57P01", "57P02"}  # the server stopped under a statement, be it done or not
NOT_LET_IN = {"28", "3D"}  # of the classes above
NOT_MIGRATED = {"42P01", "42703", "42883", "3F000"}  # no table, column, function, schema
NOT_PREPARED = {"26000", "42P05"}  # a prepared statement is gone, or there already


def is_lost(state: str) -> bool:
    """Whether the link is gone, and nobody knows what became of the statement."""
    return state[:2] == _LOST_CLASS or state in _LOST_STATES
