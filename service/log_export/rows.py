"""COPY's text of the log, taken apart and opened, event by event.

Invariant: every line becomes one row. Whether a customer is forgotten is what the line says, that
is the database at the moment of its statement; keys are remembered only beside what wraps them.
"""

from __future__ import annotations

import re
from binascii import unhexlify
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple, TypeAlias

import orjson

from service.errors import Corrupt
from service.event_log import NO_DATA
from service.vault import Opener, Vault

CACHED_MAX = 16_384

Row: TypeAlias = tuple[str, str, str, str, str, str, str, str, str, str, bool, bool]
"""Position, UUID, tenant, customer, version, type and its schema version, milliseconds since 1970,
actor (all as COPY writes them), data as JSON, whether it is forgotten, whether it is damaged."""

_CLEAR, _SEALED, _FORGOTTEN = "c", "s", "f"
_ESCAPED = re.compile(r"\\(.)")
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


class Actor(NamedTuple):
    type: str
    id: str
    name: str | None


class Rows:
    """Of one COPY. `vault` None: nothing in it is sealed. `damaged` counts what did not open."""

    def __init__(self, vault: Vault | None) -> None:
        self._opener = None if vault is None else Opener(vault)
        self._rest = b""  # of a line that goes on in the next piece
        self.damaged = 0

    def of(self, piece: bytes) -> Iterator[Row]:
        """The rows that are whole with this piece. Raises Unavailable where our master key is
        outdated."""
        lines, end, self._rest = (self._rest + piece).rpartition(b"\n")
        if not end:
            return
        for line in lines.decode().split("\n"):
            (position, key, tenant, customer_id, version, kind, schema, time, actor,
             state, data, sealed, wrapped) = line.split("\t")  # fmt: skip
            is_forgotten = is_damaged = False
            if state == _SEALED:
                opened = self._opened(customer_id, kind, schema, version, sealed, wrapped)
                is_damaged = opened is None
                data = NO_DATA if opened is None else opened
            elif state == _CLEAR:
                data = data.replace("\\\\", "\\")
            elif state == _FORGOTTEN:
                data = data.replace("\\\\", "\\")
                is_forgotten = True
            else:
                data, is_damaged = NO_DATA, True
            self.damaged += is_damaged
            yield (position, key, tenant, customer_id, version, kind, schema, time, actor,
                   data, is_forgotten, is_damaged)  # fmt: skip

    def _opened(
        self, customer_id: str, kind: str, schema: str, version: str, sealed: str, wrapped: str
    ) -> str | None:
        """None where the key, or what is sealed, is damaged."""
        assert self._opener is not None, "sealed events are read with the vault that opens them"
        where = plain(customer_id), plain(kind), int(schema), int(version)
        try:
            return self._opener.open(*where, unhexlify(sealed), unhexlify(wrapped))
        except Corrupt:
            return None


def plain(text: str) -> str:
    """A column's own text, where COPY escaped some of it."""
    if "\\" not in text:
        return text
    return _ESCAPED.sub(lambda found: _ESCAPES.get(found[1], found[1]), text)


def moment(milliseconds: str) -> datetime:
    return datetime.fromtimestamp(int(milliseconds) / 1_000, UTC)


@lru_cache(maxsize=CACHED_MAX)
def actor_of(text: str) -> Actor:
    """Raises Corrupt."""
    try:
        told = orjson.loads(plain(text))
        return Actor(told["type"], told["id"], told.get("name"))
    except (ValueError, LookupError, TypeError) as error:
        raise Corrupt("an event of the log does not say who asked for it") from error
