"""A key that wraps the keys of customers, so that they can lie in the database.

Invariant: what is wrapped names the key that wrapped it, and the customer it belongs to is bound
in: it opens for nobody else.
"""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from typing_extensions import override

from service.errors import Corrupt

KEY_BYTES = 32
ID_BYTES = 8
NONCE_BYTES = 12  # NIST SP 800-38D, 8.2.2: random, and far fewer than 2^32 of them under one key
_ID_CONTEXT = b"customers/v1/wrapping-key-id"


class WrappingKey:
    """`id` tells two of them apart, and nothing about either."""

    def __init__(self, secret: bytes) -> None:
        self.secret = secret
        self.id = HKDF(algorithm=SHA256(), length=ID_BYTES, salt=None, info=_ID_CONTEXT).derive(
            secret
        )
        self._cipher = AESGCM(secret)

    @classmethod
    def new(cls) -> WrappingKey:
        return cls(os.urandom(KEY_BYTES))

    @override
    def __eq__(self, other: object) -> bool:
        return isinstance(other, WrappingKey) and other.id == self.id

    @override
    def __hash__(self) -> int:
        return hash(self.id)

    def wrap(self, customer_id: str, secret: bytes) -> bytes:
        """The id, the nonce, and the secret in AES-256-GCM."""
        nonce = os.urandom(NONCE_BYTES)
        return self.id + nonce + self._cipher.encrypt(nonce, secret, customer_id.encode())

    def unwrap(self, customer_id: str, wrapped: bytes) -> bytes:
        """Raises Corrupt where this is not what was wrapped for this customer."""
        nonce = wrapped[ID_BYTES : ID_BYTES + NONCE_BYTES]
        try:
            return self._cipher.decrypt(
                nonce, wrapped[ID_BYTES + NONCE_BYTES :], customer_id.encode()
            )
        except (InvalidTag, ValueError):
            raise Corrupt(f"the stored key of {customer_id} is damaged") from None
