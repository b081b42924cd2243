"""One customer's own key, and what is sealed under it.

Invariant: what is sealed opens only in its own place: for its customer, type, schema version and
version. Without the key nobody opens it, and nobody can make the key again.
"""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from service.errors import Corrupt

KEY_BYTES = 32
NONCE_BYTES = 12  # random: one customer has far fewer than 2^32 events (NIST SP 800-38D, 8.2.2)
_FORM = b"\x01"  # AES-256-GCM; another cipher would be another first byte
_START = len(_FORM) + NONCE_BYTES


def place(customer_id: str, type_name: str, schema_version: int, version: int) -> bytes:
    """Where an event stands: bound in when it is sealed."""
    return f"{customer_id}\n{type_name}\n{schema_version}\n{version}".encode()


class CustomerKey:
    """`secret` leaves this process only wrapped."""

    __slots__ = ("_cipher", "secret")

    def __init__(self, secret: bytes) -> None:
        self.secret = secret
        self._cipher = AESGCM(secret)

    @classmethod
    def new(cls) -> CustomerKey:
        return cls(os.urandom(KEY_BYTES))

    def seal(self, data: bytes, place: bytes) -> bytes:
        """The form, the nonce, and the data in AES-256-GCM."""
        nonce = os.urandom(NONCE_BYTES)
        return _FORM + nonce + self._cipher.encrypt(nonce, data, place)

    def open(self, sealed: bytes, place: bytes) -> bytes:
        """Raises Corrupt where this is not what was sealed for this place."""
        if sealed[:1] == _FORM:
            try:
                return self._cipher.decrypt(sealed[1:_START], sealed[_START:], place)
            except (InvalidTag, ValueError):
                raise _damaged(place) from None
        raise _damaged(place)


def _damaged(place: bytes) -> Corrupt:
    where = place.decode().replace("\n", " ")
    return Corrupt(f"the sealed data of {where} is damaged, or its key is another")
