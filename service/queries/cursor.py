"""The opaque place in a list from which a next page goes on.

Invariant: a cursor opens only for the tenant, filter and sort that it was made for, and only as it
was made, to the letter. It is encrypted, because sort keys tell people's names, and cursors are
part of addresses, which get logged.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, TypeAlias

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from service.errors import Fault, Rejected
from service.folding import sort_key
from service.list_request import SortField, SortKey

_FORMAT = b"customers list cursor 1"

KeyValue: TypeAlias = str | int | datetime | None

TEXT_FIELDS: frozenset[SortField] = frozenset(("email", "firstName", "lastName"))
TIME_FIELDS: frozenset[SortField] = frozenset(("createdAt", "updatedAt", "lastOrderAt"))


class Place(NamedTuple):
    """Behind this row. `keys`: its values by the list's sort keys; `page`: which one comes next."""

    page: int
    id: str
    keys: tuple[KeyValue, ...]


class Cursors:
    """Seals and opens cursors under one key. Deterministic: the same place, the same cursor."""

    def __init__(self, key: bytes) -> None:
        # AES-SIV (RFC 5297) authenticates, and stays safe without any nonce.
        self._box = AESSIV(hmac.digest(key, _FORMAT, "sha512"))

    def seal(self, place: Place, sort: Sequence[SortKey], binding: bytes) -> str:
        keys = [_short(key.field, value) for key, value in zip(sort, place.keys, strict=True)]
        sealed = self._box.encrypt(orjson.dumps([place.page, place.id, *keys]), [binding])
        return urlsafe_b64encode(sealed).rstrip(b"=").decode()

    def open(self, cursor: str, sort: Sequence[SortKey], binding: bytes) -> Place:
        """Raises Rejected `invalid_cursor`."""
        try:
            sealed = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
            if urlsafe_b64encode(sealed).rstrip(b"=").decode() != cursor:
                raise _refusal()  # another spelling of the same bytes
            page, customer_id, *keys = orjson.loads(self._box.decrypt(sealed, [binding]))
        except (ValueError, InvalidTag) as error:
            raise _refusal() from error
        long = (_long(key.field, value) for key, value in zip(sort, keys, strict=True))
        return Place(page, customer_id, tuple(long))


def _refusal() -> Rejected:
    detail = "Give a nextCursor as it was answered, with the same filter and sort."
    return Rejected([Fault("cursor", "invalid_cursor", detail)])


def _short(field: SortField, value: KeyValue) -> KeyValue | list[str]:
    """A text's sort key by the text alone, from which it follows; as a list where it does not."""
    if field not in TEXT_FIELDS or not isinstance(value, str):
        return value
    text = value.partition("\x01")[2]
    return text if sort_key(text) == value else [value]


def _long(field: SortField, value: str | int | list[str] | None) -> KeyValue:
    if isinstance(value, list):
        return value[0]
    if not isinstance(value, str):
        return value
    return datetime.fromisoformat(value) if field in TIME_FIELDS else sort_key(value)
