"""The master secret: 32 bytes outside the database, from which every other key is derived.

Invariant: a key that a database knows is never replaced. It is made once, by `migrate` or `up`,
while nothing was sealed and no token stored; the database remembers its fingerprint, so that a
wrong key is refused instead of making tokens invalid and data unreadable one by one.
"""

from __future__ import annotations

import base64
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import NamedTemporaryFile

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from typing_extensions import override

from service.errors import ConfigurationError
from service.postgres import Postgres, Transaction, load_statements

KEY_BYTES = 32
FILE_BYTES_MAX = 1_024
_CONTEXT = b"customers/v1/"  # a new derivation would be another context

SQL = load_statements("service", "master_key.sql")


@dataclass(frozen=True, slots=True)
class MasterKey:
    """Never used itself: every use derives a key of its own."""

    _secret: bytes = field(repr=False)

    def subkey(self, purpose: str) -> bytes:
        """The 32-byte key for one purpose (`token-hash`, `cursor` …), by HKDF-SHA256."""
        info = _CONTEXT + purpose.encode()
        return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=info).derive(self._secret)

    @property
    def fingerprint(self) -> bytes:
        """Tells two keys apart, and nothing about either."""
        return self.subkey("fingerprint")


@dataclass(frozen=True, slots=True)
class KeySource:
    """Where the key is: its text if that is given, else a file."""

    path: Path
    text: str | None = field(default=None, repr=False)

    @override
    def __str__(self) -> str:
        return str(self.path) if self.text is None else "CUSTOMERS_MASTER_KEY"

    def read(self) -> MasterKey | None:
        """None where there is no such file. Raises ConfigurationError for what is no key."""
        if self.text is not None:
            return _parse(self.text, str(self))
        try:
            with self.path.open("rb") as file:
                text = file.read(FILE_BYTES_MAX).decode("ascii", errors="replace")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConfigurationError(
                f"The master key {self} cannot be read: {error.strerror}."
            ) from None
        return _parse(text, str(self))

    def create(self) -> MasterKey:
        """Make a key file, whole or not at all; where another process was first, its key."""
        text = base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode() + "\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            _write_new(self.path, text)
        except FileExistsError:
            pass
        except OSError as error:
            raise ConfigurationError(
                f"The master key {self} cannot be written: {error.strerror}."
            ) from None
        key = self.read()
        assert key is not None, "just written"
        return key


async def provide_master_key(postgres: Postgres, source: KeySource) -> MasterKey:
    """The key, made where none is needed yet: for `migrate` and `up`, on a migrated database.

    Raises ConfigurationError where the database knows another key, or needs one that is lost.
    """
    key = source.read()
    async with postgres.transaction() as transaction:
        # Invariant: one at a time, from the look at what is known to what is remembered.
        await transaction.execute(SQL["lock_key"])
        known = await transaction.fetch(bytes, SQL["key_fingerprint"])
        if key is not None and known == [key.fingerprint]:
            return key
        if known or await _is_needed(transaction):
            raise ConfigurationError(_absent(source) if key is None else _foreign(source))
        key = key or source.create()
        await transaction.execute(SQL["remember_key"], key.fingerprint)
    return key


def require_master_key(source: KeySource) -> MasterKey:
    """The key, for roles, which only read it. Raises ConfigurationError where there is none."""
    key = source.read()
    if key is None:
        raise ConfigurationError(
            f"There is no master key in {source}: `customers migrate` makes one,"
            " and CUSTOMERS_MASTER_KEY_FILE says where it is."
        )
    return key


async def check_master_key(postgres: Postgres, key: MasterKey, source: KeySource) -> bool:
    """Whether the database knows this key; False where it knows none yet.

    Raises ConfigurationError where it knows another, Unavailable where it cannot be asked.
    """
    known = await _known_fingerprint(postgres)
    if known is None:
        return False
    if known != key.fingerprint:
        raise ConfigurationError(_foreign(source))
    return True


async def _is_needed(transaction: Transaction) -> bool:
    return await transaction.fetch(bool, SQL["key_is_needed"]) == [True]


async def _known_fingerprint(postgres: Postgres) -> bytes | None:
    return await postgres.fetch_one(bytes, SQL["key_fingerprint"])


def _parse(text: str, where: str) -> MasterKey:
    try:
        secret = base64.b64decode(text.strip(), validate=True)
    except ValueError:
        secret = b""
    if len(secret) != KEY_BYTES:
        raise ConfigurationError(
            f"The master key in {where} is damaged: it must be {KEY_BYTES} bytes in base64."
        )
    return MasterKey(secret)


def _write_new(path: Path, text: str) -> None:
    """Invariant: `path` never exists half-written, and an existing file is never overwritten."""
    # Such a file can be read and written by its owner only, and so can the link.
    with NamedTemporaryFile("w", dir=path.parent, prefix=path.name) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
        os.link(file.name, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _absent(source: KeySource) -> str:
    return (
        f"There is no master key in {source}, and this database was used with one: a new key"
        " would make what is stored unreadable, so put the old one back"
        " or set CUSTOMERS_MASTER_KEY_FILE to it."
    )


def _foreign(source: KeySource) -> str:
    return (
        f"The master key in {source} is not the one this database was used with: set"
        " CUSTOMERS_MASTER_KEY_FILE to the right one."
    )
