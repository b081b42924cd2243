"""A token's text: how it is made, recognised as ours, and hashed; and the ids of JWTs' subjects.

Invariant: the text carries a tag that only the holder of the master key can compute, so a flood of
invented tokens is refused by arithmetic and never reaches the database.
"""

from __future__ import annotations

import hmac
import re
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import blake2b

from service.master_key import MasterKey

TOKEN_PREFIX = "ctk_"  # noqa: S105 - what every token begins with
SECRET_BYTES = 32
TAG_BYTES = 7  # with the secret 39 bytes: 52 base64 digits, without padding
HASH_BYTES = 32
SUBJECT_PREFIX = "jwt_"
SUBJECT_BYTES = 16

_TOKEN = re.compile(TOKEN_PREFIX + r"[A-Za-z0-9_-]{52}")


class TokenKeys:
    """A key for each use: the tag, which callers see, the hash, which is stored, and subjects."""

    def __init__(self, key: MasterKey) -> None:
        # Copied for every use, which is cheaper than taking up the key anew.
        self._tagger = blake2b(digest_size=TAG_BYTES, key=key.subkey("token-tag"))
        self._hasher = blake2b(digest_size=HASH_BYTES, key=key.subkey("token-hash"))
        self._namer = blake2b(digest_size=SUBJECT_BYTES, key=key.subkey("jwt-subject"))

    def new_text(self) -> str:
        secret = secrets.token_bytes(SECRET_BYTES)
        return TOKEN_PREFIX + urlsafe_b64encode(secret + self._tag(secret)).decode()

    def made(self, text: str) -> bool:
        """Whether this is a token of ours, be it valid or not."""
        if _TOKEN.fullmatch(text) is None:
            return False
        raw = urlsafe_b64decode(text.removeprefix(TOKEN_PREFIX))
        return hmac.compare_digest(raw[SECRET_BYTES:], self._tag(raw[:SECRET_BYTES]))

    def hash(self, text: str) -> bytes:
        hasher = self._hasher.copy()
        hasher.update(text.encode("utf-8", "surrogateescape"))
        return hasher.digest()

    def subject_id(self, subject: str) -> str:
        """What stands for the subject of a JWT, which may be a person, wherever it is stored.

        Always the same for one subject; nobody can tell it, or try names, without the master key.
        """
        namer = self._namer.copy()
        namer.update(subject.encode())
        return SUBJECT_PREFIX + namer.hexdigest()

    def _tag(self, secret: bytes) -> bytes:
        tagger = self._tagger.copy()
        tagger.update(secret)
        return tagger.digest()
