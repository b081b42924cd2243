"""Headers of our own, and those that every answer carries.

Invariant: no answer says which server software runs, is kept by a cache, or is guessed at by a
browser; whoever wants an answer cached (pages do) says so itself.
"""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import hdrs
from multidict import istr

ETAG = istr("ETag")  # aiohttp spells it otherwise
LOG_POSITION = istr("Log-Position")
LOG_EPOCH = istr("Log-Epoch")
AS_OF_POSITION = istr("As-Of-Position")
IDEMPOTENCY_KEY = istr("Idempotency-Key")
IDEMPOTENT_REPLAYED = istr("Idempotent-Replayed")
RATE_LIMIT = istr("RateLimit")
RATE_LIMIT_POLICY = istr("RateLimit-Policy")
X_CONTENT_TYPE_OPTIONS = istr("X-Content-Type-Options")


def etag(version: int) -> str:
    """The validator of everything that is said about one customer."""
    return f'"{version}"'


COMMON_HEADERS: Mapping[str, str] = {
    hdrs.SERVER: "customers",
    hdrs.CACHE_CONTROL: "no-store",
    X_CONTENT_TYPE_OPTIONS: "nosniff",
}
