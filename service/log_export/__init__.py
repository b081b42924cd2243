"""The log into files, for whoever wants all of it: a file for each range, and a manifest.

Invariant: events are in the files in the order of their positions, up to one position that was the
log's end when the export began; each is as a subscriber gets it, opened when it was written.
"""

from service.log_export.chunk import Chunk, Written, export_chunk
from service.log_export.folder import ExportFolder, begin, fault_of, found, held, strangers
from service.log_export.manifest import MANIFEST, ExportedFile, Format, Manifest, Scope
from service.log_export.parquet import ParquetGroups, require_parquet
from service.log_export.parts import PREFIX, Part, sync_folder, write_whole

__all__ = [
    "MANIFEST",
    "PREFIX",
    "Chunk",
    "ExportFolder",
    "ExportedFile",
    "Format",
    "Manifest",
    "ParquetGroups",
    "Part",
    "Scope",
    "Written",
    "begin",
    "export_chunk",
    "fault_of",
    "found",
    "held",
    "require_parquet",
    "strangers",
    "sync_folder",
    "write_whole",
]
