"""The console's sessions: a token, sealed into a cookie of one browser.

Invariants: nothing is kept here. The token within is checked anew at every request, so whatever
ends the token ends the session; the cookie opens no other door, since only this process's key opens
it, and no script can read it.
"""

from __future__ import annotations

import secrets
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable

from aiohttp import web
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

COOKIE = "customers_console"
SESSION_SECONDS = 8 * 3_600  # then the token is asked for again
BEARER_CHARACTERS_MAX = 2_800  # sealed still within the 4,096 bytes that browsers keep

_PURPOSE = b"customers console session 1"
_NONCE_BYTES = 12
_TIME_BYTES = 8


class Sessions:
    """`key`: 32 bytes that all processes of the API share. `path`: where the cookie is sent to."""

    def __init__(self, key: bytes, path: str, clock: Callable[[], float] = time.time) -> None:
        self._box = AESGCM(key)
        self._path = path
        self._clock = clock

    def begin(self, response: web.Response, bearer: str, *, is_https: bool) -> None:
        """Let the browser keep the token; `bearer` is at most BEARER_CHARACTERS_MAX."""
        ends = int(self._clock()) + SESSION_SECONDS
        nonce = secrets.token_bytes(_NONCE_BYTES)
        plain = ends.to_bytes(_TIME_BYTES, "big") + bearer.encode()
        sealed = urlsafe_b64encode(nonce + self._box.encrypt(nonce, plain, _PURPOSE)).decode()
        self._set(response, sealed, SESSION_SECONDS, is_https=is_https)

    def end(self, response: web.Response, *, is_https: bool) -> None:
        """Let the browser forget it."""
        self._set(response, "", 0, is_https=is_https)

    def bearer(self, request: web.BaseRequest) -> str | None:
        """The token of a session that has not ended; None for everything else."""
        try:
            raw = urlsafe_b64decode(request.cookies.get(COOKIE, ""))
            plain = self._box.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], _PURPOSE)
        except (ValueError, InvalidTag):
            return None
        ends = int.from_bytes(plain[:_TIME_BYTES], "big")
        return plain[_TIME_BYTES:].decode() if self._clock() < ends else None

    def _set(self, response: web.Response, value: str, seconds: int, *, is_https: bool) -> None:
        response.set_cookie(
            COOKIE,
            value,
            max_age=seconds,
            path=self._path,
            secure=is_https,
            httponly=True,
            samesite="Strict",
        )


def has_cookie(request: web.BaseRequest) -> bool:
    """Whether the browser thinks that it has a session."""
    return COOKIE in request.cookies


def is_https(request: web.BaseRequest) -> bool:
    """As the browser sees it. Who makes the header up gets a cookie that is sent less often."""
    forwarded = request.headers.get("X-Forwarded-Proto", "").split(",")[0].strip()
    return request.scheme == "https" or forwarded == "https"
