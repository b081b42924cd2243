"""That a deleted customer is forgotten, looked for where anything could be left.

Invariant: the parts that do the forgetting are not asked; tables, events and topics are read as
they lie.
"""

from service.erasure.database import deleted_at, look_in_database, unclean_tables
from service.erasure.report import Finding, Report
from service.erasure.topics import look_in_topics

__all__ = [
    "Finding",
    "Report",
    "deleted_at",
    "look_in_database",
    "look_in_topics",
    "unclean_tables",
]
