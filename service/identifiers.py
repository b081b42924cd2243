"""Identifiers that sort by the time they were made: a prefix and a UUIDv7 in base 32 (TypeID 0.3).

Invariant: an identifier is opaque on input. Nothing parses one to learn something from it.
"""

from __future__ import annotations

from base64 import b32hexencode
from typing import NewType, Protocol

from uuid_utils import uuid7

CustomerId = NewType("CustomerId", str)
AddressId = NewType("AddressId", str)
EventId = NewType("EventId", str)
TokenId = NewType("TokenId", str)

# b32hex's digits 0-9A-V, one by one, to Crockford's lower-case alphabet, which TypeID uses.
_CROCKFORD = bytes.maketrans(
    b"0123456789ABCDEFGHIJKLMNOPQRSTUV", b"0123456789abcdefghjkmnpqrstvwxyz"
)
_PAD = b"\0\0\0\0"  # 16 bytes right-aligned in 20: 32 digits, of which the first 6 are always zero
_PAD_DIGITS = 6


def _suffix(raw: bytes) -> str:
    return b32hexencode(_PAD + raw).translate(_CROCKFORD)[_PAD_DIGITS:].decode()


def new_customer_id() -> CustomerId:
    return CustomerId("cust_" + _suffix(uuid7().bytes))


def new_address_id() -> AddressId:
    return AddressId("addr_" + _suffix(uuid7().bytes))


def new_token_id() -> TokenId:
    return TokenId("tok_" + _suffix(uuid7().bytes))


class EventKey(Protocol):
    """A UUID, whichever library made it."""

    @property
    def bytes(self) -> bytes: ...


def new_event_key() -> EventKey:
    """The UUID under which an event is stored; `event_id` shows it."""
    return uuid7()


def event_id(key: EventKey) -> EventId:
    return EventId("evt_" + _suffix(key.bytes))
