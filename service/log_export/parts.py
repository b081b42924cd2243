"""A file that is being written: under a name of its own, counted and hashed as it grows.

Invariants: only its owner can read it; nobody takes it for a file of the export before it is on the
disk whole and its finder has renamed it; what is left of a writer that died is told by its name.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

FILE_MODE = 0o600
PREFIX = ".part-"


class Part:
    """One file in a folder, of an export's positions from `first` on."""

    def __init__(self, folder: Path, first: int) -> None:
        self.name = f"{PREFIX}{first}-{os.getpid()}"
        self.bytes = 0
        self._path = folder / self.name
        self._hash = hashlib.sha256()
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        self._file = os.fdopen(os.open(self._path, flags, FILE_MODE), "wb")

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def write(self, data: bytes) -> int:
        self._file.write(data)
        self._hash.update(data)
        self.bytes += len(data)
        return len(data)

    def end(self) -> None:
        """Returns when it is on the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def abandon(self) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)


def write_whole(path: Path, data: bytes) -> None:
    """Put a file in the place of another: at every moment one of both is there, whole."""
    new = path.with_name(f"{PREFIX}{path.name}")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """So that its names outlive a power failure."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
