"""Old partitions of the log out of the database into files, and back.

Invariants: what is archived is positions 1 to some last one, and each event is in the database, or
in a file that was compared with it row by row, or in both. Rows are moved as they are stored, so
what is sealed stays sealed. Wherever a command is killed, the same command goes on.
"""

from service.log_archive.archiving import archive_partition
from service.log_archive.attaching import attach_file
from service.log_archive.conditions import Conditions, Needs, why_not
from service.log_archive.files import Identity, file_name, read_identity
from service.log_archive.upkeep import (
    Archived,
    Partition,
    archived_partitions,
    hold_upkeep,
    partitions,
)

__all__ = [
    "Archived",
    "Conditions",
    "Identity",
    "Needs",
    "Partition",
    "archive_partition",
    "archived_partitions",
    "attach_file",
    "file_name",
    "hold_upkeep",
    "partitions",
    "read_identity",
    "why_not",
]
