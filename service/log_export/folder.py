"""The folder of an export: begun, gone on with, checked.

Invariants: one process at a time writes to it; a file is renamed into place before the manifest
names it; nothing that an export did not make is removed or written over.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from service.errors import ConfigurationError, Corrupt
from service.log_export.manifest import (
    MANIFEST,
    ExportedFile,
    Manifest,
    Scope,
    read_manifest,
    write_manifest,
)
from service.log_export.parts import PREFIX, sync_folder

FOLDER_MODE = 0o700
READ_BYTES = 1024 * 1024
_OURS = re.compile(rf"^({re.escape(PREFIX)}.*|events-\d+-\d+\.(jsonl|parquet))$")


class ExportFolder:
    """`manifest` is what lies in it."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest

    def take(self, parts: Sequence[tuple[str, ExportedFile]]) -> None:
        """Files that are whole, by the names they have so far. Raises OSError."""
        for name, file in parts:
            (self.path / name).replace(self.path / file.name)
        sync_folder(self.path)
        self._write(self.manifest.with_files([*self.manifest.files, *(file for _, file in parts)]))

    def complete(self, now: datetime) -> None:
        self._write(self.manifest.completed(now))

    def keep_what_is_there(self, checked: Callable[[ExportedFile], None]) -> None:
        """Files that are gone are to be made anew. Raises Corrupt where one is not as it was."""
        kept: list[ExportedFile] = []
        for file in self.manifest.files:
            fault = fault_of(self.path, file)
            if fault not in {None, "missing"}:
                raise Corrupt(
                    f"{self.path / file.name} is {fault}: it is not what was exported. Delete it,"
                    " and run the same command to have it made anew"
                )
            kept += [file] if fault is None else []
            checked(file)
        if len(kept) != len(self.manifest.files):
            self._write(self.manifest.with_files(kept))
        self._remove_leftovers()

    def _remove_leftovers(self) -> None:
        """Of an export that was killed: nothing else has such names."""
        named = {file.name for file in self.manifest.files}
        for path in self.path.iterdir():
            if _OURS.match(path.name) and path.name not in named:
                path.unlink()

    def _write(self, manifest: Manifest) -> None:
        write_manifest(self.path, manifest)
        self.manifest = manifest


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Make the folder where there is none, and keep other exports out of it for the block.

    Raises ConfigurationError where one is at work in it, OSError.
    """
    path.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    opened = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigurationError(f"Another export is writing to {path}.") from None
        yield
    finally:
        os.close(opened)


def begin(path: Path, scope: Scope, now: datetime) -> ExportFolder:
    """In an empty folder, or one where another was killed before it began. Raises
    ConfigurationError, OSError."""
    if any(not each.name.startswith(PREFIX) for each in path.iterdir()):
        raise ConfigurationError(f"{path} is not empty, and holds no export: name another folder.")
    manifest = Manifest(**scope.model_dump(), created_at=now)
    write_manifest(path, manifest)
    return ExportFolder(path, manifest)


def found(path: Path) -> ExportFolder | None:
    """None where no export was begun. Raises Corrupt, OSError."""
    manifest = read_manifest(path)
    return None if manifest is None else ExportFolder(path, manifest)


def fault_of(path: Path, file: ExportedFile) -> str | None:
    """`missing`, `of another size`, `changed`; None where it is whole. Raises OSError."""
    hashed = hashlib.sha256()
    try:
        with (path / file.name).open("rb") as opened:
            if os.fstat(opened.fileno()).st_size != file.bytes:
                return "of another size"
            while data := opened.read(READ_BYTES):
                hashed.update(data)
    except FileNotFoundError:
        return "missing"
    return None if hashed.hexdigest() == file.sha256 else "changed"


def strangers(path: Path, manifest: Manifest) -> list[str]:
    """What lies in the folder and is no part of the export. Raises OSError."""
    known = {MANIFEST, *(file.name for file in manifest.files)}
    return sorted(each.name for each in path.iterdir() if each.name not in known)
