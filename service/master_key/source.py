"""Where the master key comes from: a file, the environment, or whatever else can tell it.

Invariant: a key file never exists half-written, and no key in it is ever lost by writing it.
"""

from __future__ import annotations

import base64
import fcntl
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from typing_extensions import override

from service.errors import ConfigurationError
from service.master_key.key import MasterKey, parse
from service.master_key.wrapping_key import KEY_BYTES

FILE_BYTES_MAX = 1_024
WRITING_SUFFIX = ".new"


class KeyProvider(Protocol):
    """What tells the key; a key management service would be one. `str` names it to an operator.

    Asked at a start and when keys turn up that were wrapped by one not known yet.
    """

    def read(self) -> MasterKey | None:
        """None where there is none yet. Raises ConfigurationError for what is no key."""

    def create(self) -> MasterKey:
        """Make one; where another process was first, its key. Raises ConfigurationError where
        that is an operator's business."""

    def replace(self, key: MasterKey) -> None:
        """Keep this one from now on. Raises ConfigurationError as `create` does."""


@dataclass(frozen=True, slots=True)
class KeySource:
    """Its text if that is given, by the environment; else a file."""

    path: Path
    given: str | None = field(default=None, repr=False)

    @override
    def __str__(self) -> str:
        return str(self.path) if self.given is None else "CUSTOMERS_MASTER_KEY"

    def read(self) -> MasterKey | None:
        if self.given is not None:
            return parse(self.given, str(self))
        try:
            with self.path.open("rb") as file:
                text = file.read(FILE_BYTES_MAX).decode("ascii", errors="replace")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConfigurationError(
                f"The master key {self} cannot be read: {error.strerror}."
            ) from None
        return parse(text, str(self))

    def create(self) -> MasterKey:
        text = base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode() + "\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            _write(self.path, text, replace=False)
        except FileExistsError:
            pass
        except OSError as error:
            raise _unwritable(self, error) from None
        key = self.read()
        assert key is not None, "just written"
        return key

    def replace(self, key: MasterKey) -> None:
        if self.given is not None:
            raise ConfigurationError(
                f"The master key is in {self}, which only you can change: `customers keys rotate"
                " --prepare FILE` writes what belongs there, with a new wrapping key; put it there,"
                " restart every role, and rotate again."
            )
        try:
            _write(self.path.resolve(), key.text(), replace=True)
        except OSError as error:
            raise _unwritable(self, error) from None

    def keep_aside(self, key: MasterKey) -> None:
        """Write the key into a new file. Raises ConfigurationError where there is one already."""
        try:
            _write(self.path, key.text(), replace=False)
        except OSError as error:
            raise _unwritable(self, error) from None


def _unwritable(source: KeySource, error: OSError) -> ConfigurationError:
    return ConfigurationError(f"The master key {source} cannot be written: {error.strerror}.")


def _write(path: Path, text: str, *, replace: bool) -> None:
    """Whole or not at all, and on the disk. Raises FileExistsError where it must not replace.

    Under one name, so that what a killed process left, with a key that should be gone, is removed.
    """
    aside = path.with_name(path.name + WRITING_SUFFIX)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        # Invariant: one at a time, so that nobody links what another has not written whole. NFS
        # locks no folder; there the lock in the database does, for all who use that one.
        with suppress(OSError):
            fcntl.flock(folder, fcntl.LOCK_EX)
        aside.unlink(missing_ok=True)
        try:
            _write_new(aside, text)
            if replace:
                _keep_owner(aside, path)
                aside.replace(path)
            else:
                os.link(aside, path)
        finally:
            aside.unlink(missing_ok=True)
        os.fsync(folder)
    finally:
        os.close(folder)


def _write_new(path: Path, text: str) -> None:
    """Only its owner can read and write it."""
    with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _keep_owner(new: Path, old: Path) -> None:
    """The roles may run as another user than the operator who rotates."""
    found = old.stat()
    os.chown(new, found.st_uid, found.st_gid)
    new.chmod(found.st_mode & 0o777)
