"""What an export holds: which part of which log, in which files, and how they are proved whole.

Invariant: a manifest names only files that are on the disk whole, under their names; so whatever
was killed, what it names counts, and what it does not name is made anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal, TypeAlias

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from service.errors import Corrupt
from service.log_export.parts import write_whole

FORMAT_VERSION: Literal[1] = 1
MANIFEST = "manifest.json"
CHUNK_POSITIONS = 100_000  # of the log, exported by one process at once
POSITION_DIGITS = 12  # in names, so that they sort as positions do

Format: TypeAlias = Literal["jsonl", "parquet"]


class _Shape(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True
    )


class Scope(_Shape):
    """What is exported: the same for all files. `tenant` None: of all tenants."""

    format_version: Literal[1] = FORMAT_VERSION
    format: Format
    epoch: str
    from_position: int
    to_position: int
    tenant: str | None
    personal_data: bool


class ExportedFile(_Shape):
    """`from_position` and `to_position`: all events of these positions, and no others, are in it;
    of one tenant that may be few, or none. `damaged`: events that could not be opened."""

    name: str
    from_position: int
    to_position: int
    events: int
    damaged: int
    first_position: int | None
    last_position: int | None
    bytes: int
    sha256: str


class Manifest(Scope):
    """As it lies beside the files."""

    created_at: AwareDatetime
    completed_at: AwareDatetime | None = None
    events: int = 0
    bytes: int = 0
    files: tuple[ExportedFile, ...] = ()

    def with_files(self, files: Sequence[ExportedFile]) -> Manifest:
        """These and no others, by position."""
        ordered = tuple(sorted(files, key=lambda each: each.from_position))
        sums = {
            "events": sum(each.events for each in ordered),
            "bytes": sum(each.bytes for each in ordered),
        }
        return self.model_copy(update={"files": ordered, "completed_at": None, **sums})

    def completed(self, now: datetime) -> Manifest:
        return self.model_copy(update={"completed_at": now})

    @property
    def scope(self) -> Scope:
        return Scope(**{name: getattr(self, name) for name in Scope.model_fields})

    def missing(self) -> Iterator[tuple[int, int]]:
        """The ranges of positions that are in no file, in pieces of CHUNK_POSITIONS at most."""
        place = self.from_position
        for start, end in (*((each.from_position, each.to_position) for each in self.files),
                           (self.to_position + 1, self.to_position)):  # fmt: skip
            for first in range(place, start, CHUNK_POSITIONS):
                yield first, min(first + CHUNK_POSITIONS, start) - 1
            place = max(place, end + 1)


def file_name(format_: Format, first: int, last: int) -> str:
    return f"events-{first:0{POSITION_DIGITS}}-{last:0{POSITION_DIGITS}}.{format_}"


def read_manifest(folder: Path) -> Manifest | None:
    """None where there is none. Raises Corrupt, OSError."""
    path = folder / MANIFEST
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise Corrupt(f"{path} is no manifest of an export, or of a later release's") from error


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Raises OSError."""
    text = manifest.model_dump_json(by_alias=True, indent=2)
    write_whole(folder / MANIFEST, text.encode() + b"\n")
