"""The master secret: outside the database, and from it every other key.

Invariant: it has two parts. The root never changes: from it come the keys of token hashes, cursors
and claims. The wrapping keys wrap customers' keys: the first one wraps, each of them unwraps, and a
rotation puts a new one first and lets the others go. Nobody can tell one part from the other.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from service.errors import ConfigurationError
from service.master_key.wrapping_key import KEY_BYTES, WrappingKey

WRAPPING_KEYS_MAX = 8
_CONTEXT = b"customers/v1/"  # a new derivation would be another context
_ROOT, _WRAP = "root:", "wrap:"


@dataclass(frozen=True, slots=True)
class MasterKey:
    """`wrapping`: at least one; the first wraps, each of them unwraps."""

    _root: bytes = field(repr=False)
    wrapping: tuple[WrappingKey, ...] = field(repr=False)

    @classmethod
    def of(cls, secret: bytes) -> MasterKey:
        """Both parts from one secret: what a key is before its first rotation."""
        return cls(_derived(secret, "root"), (WrappingKey(_derived(secret, "wrap")),))

    def subkey(self, purpose: str) -> bytes:
        """The 32-byte key for one purpose (`token-hash`, `cursor` …), by HKDF-SHA256."""
        return _derived(self._root, purpose)

    @property
    def fingerprint(self) -> bytes:
        """Tells two roots apart, and nothing about either."""
        return self.subkey("fingerprint")

    def with_wrapping(self, *wrapping: WrappingKey) -> MasterKey:
        return MasterKey(self._root, wrapping)

    def text(self) -> str:
        """What `parse` reads, a part a line."""
        parts = [(_ROOT, self._root), *((_WRAP, each.secret) for each in self.wrapping)]
        return "".join(f"{label}{base64.b64encode(secret).decode()}\n" for label, secret in parts)


def parse(text: str, where: str) -> MasterKey:
    """One secret in base64; or, after a rotation, the parts, with spaces or lines between.

    Raises ConfigurationError, without anything of the text.
    """
    words = text.split()
    if len(words) == 1 and ":" not in words[0]:
        return MasterKey.of(_secret(words[0], where))
    roots = [_secret(word.removeprefix(_ROOT), where) for word in words if word.startswith(_ROOT)]
    wraps = [_secret(word.removeprefix(_WRAP), where) for word in words if word.startswith(_WRAP)]
    if len(roots) != 1 or not 1 <= len(wraps) <= WRAPPING_KEYS_MAX:
        raise _damaged(where)
    if len(roots) + len(wraps) != len(words):
        raise _damaged(where)
    return MasterKey(roots[0], tuple(map(WrappingKey, wraps)))


def _secret(word: str, where: str) -> bytes:
    try:
        secret = base64.b64decode(word, validate=True)
    except ValueError:
        secret = b""
    if len(secret) != KEY_BYTES:
        raise _damaged(where)
    return secret


def _damaged(where: str) -> ConfigurationError:
    return ConfigurationError(
        f"The master key in {where} is damaged: it must be {KEY_BYTES} bytes in base64,"
        " or after a rotation a root: and the wrap: keys, each as long."
    )


def _derived(secret: bytes, purpose: str) -> bytes:
    info = _CONTEXT + purpose.encode()
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=info).derive(secret)
