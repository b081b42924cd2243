"""The URL of PostgreSQL: what is wrong with one, and how it is shown.

Invariant: no sentence or text that leaves here holds any part of the URL that may be a password,
which includes whatever stands in a wrong place because of a character of the password.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

MASK = "********"
_SECRET_PARAMETERS = {"password", "sslpassword"}
_ENCODE = (
    "in user and password `/` is written as %2F, `#` as %23, `?` as %3F, `@` as %40, `:` as %3A"
)
_PORT_MAX = 65_535
_CHOICES = {
    "sslmode": {"disable", "allow", "prefer", "require", "verify-ca", "verify-full"},
    "sslnegotiation": {"postgres", "direct"},
    "target_session_attrs": {
        *("any", "primary", "standby", "prefer-standby", "read-write", "read-only"),
    },
}
# What the driver takes for itself, and settings of a session that make sense for us. A name with a
# dot is a server's extension's.
_PARAMETERS = {
    *_CHOICES,
    *("host", "port", "user", "password", "passfile", "dbname", "database", "service"),
    *("sslcert", "sslkey", "sslrootcert", "sslcrl", "sslpassword", "krbsrvname", "gsslib"),
    *("ssl_min_protocol_version", "ssl_max_protocol_version"),
    *("application_name", "options", "search_path", "role", "jit", "timezone", "client_encoding"),
    *("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "work_mem"),
    *("idle_session_timeout", "transaction_timeout", "client_connection_check_interval"),
    *("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count", "tcp_user_timeout"),
    *("synchronous_commit", "default_transaction_isolation", "default_transaction_read_only"),
}
_HOST = re.compile(r"(\[[^\[\]@/]+\]|[^\[\]:@/]+)(?::(?P<port>[^:]*))?")


def checked_url(url: str) -> str:
    """The URL as it is. Raises ValueError with one sentence where it cannot be meant so."""
    for complaint in _complaints(url):
        raise ValueError(complaint)
    return url


def _complaints(url: str) -> Iterator[str]:
    try:
        parts = urlsplit(url)
    except ValueError:
        yield f"its host is malformed ({_ENCODE})"
        return
    if "#" in url:
        yield f"there is a `#` in it ({_ENCODE})"
    if parts.netloc.count("@") > 1:
        yield f"there is more than one `@` before its database ({_ENCODE})"
    hosts = parts.netloc.rpartition("@")[2]
    yield from _hosts_complaints(hosts.split(",") if hosts else [])
    try:
        pairs = parse_qsl(parts.query, strict_parsing=True) if parts.query else []
    except ValueError:
        yield f"what follows its `?` is not name=value, joined by `&` ({_ENCODE})"
        return
    for name, value in pairs:
        yield from _parameter_complaints(name, value)


def _hosts_complaints(hosts: Sequence[str]) -> Iterator[str]:
    for host in hosts:
        found = _HOST.fullmatch(unquote(host)) if not unquote(host).startswith("/") else None
        if found is None and not unquote(host).startswith("/"):
            yield f"its host is malformed ({_ENCODE})"
        elif found is not None and found["port"] and not _is_port(found["port"]):
            yield f"its port is not a number from 1 to {_PORT_MAX} ({_ENCODE})"


def _parameter_complaints(name: str, value: str) -> Iterator[str]:
    if name == "port":
        if not all(map(_is_port, value.split(","))):
            yield f"its port is not a number from 1 to {_PORT_MAX}"
    elif name == "host":
        yield from _hosts_complaints(value.split(","))
    elif name in _CHOICES and value not in _CHOICES[name]:
        yield f"`{name}` is one of {', '.join(sorted(_CHOICES[name]))}"
    elif name not in _PARAMETERS and "." not in name:
        yield f"a parameter after its `?` is unknown ({_ENCODE})"


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) <= _PORT_MAX


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
