"""A database's URL: with other parameters, and without its passwords.

Invariant: what is not meant to change stays as it was written, the empty host of a socket too.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

MASK = "********"
_SECRET_PARAMETERS = {"password", "sslpassword"}


def with_parameters(url: str, wanted: Sequence[tuple[str, str]]) -> str:
    """`url` with these parameters in place of those of the same names."""
    names = {name for name, _ in wanted}
    kept = [pair for pair in parse_qsl(urlsplit(url).query) if pair[0] not in names]
    return _with_query(url, [*kept, *wanted])


def mask_url(url: str) -> str:
    """A database URL without its passwords."""
    parts = urlsplit(url)
    user, colon, _ = parts.netloc.rpartition("@")[0].partition(":")
    host = parts.netloc.rpartition("@")[2]
    masked = url.replace(parts.netloc, f"{user}:{MASK}@{host}", 1) if colon else url
    pairs = [
        (name, MASK if name in _SECRET_PARAMETERS else value)
        for name, value in parse_qsl(parts.query)
    ]
    return _with_query(masked, pairs)


def _with_query(url: str, pairs: Sequence[tuple[str, str]]) -> str:
    """`url` with another query; urllib would not put one with an empty host together again."""
    query = urlencode(pairs, quote_via=quote, safe="/*")
    return url.partition("?")[0] + (f"?{query}" if query else "")
