"""Identifiers that sort by the time they were made: a prefix and a UUIDv7 in base 32 (TypeID 0.3).

Invariant: an identifier is opaque on input. Nothing parses one to learn something from it.
"""

from __future__ import annotations

from typing import NewType, Protocol

from uuid_utils import uuid7

CustomerId = NewType("CustomerId", str)
AddressId = NewType("AddressId", str)
EventId = NewType("EventId", str)
TokenId = NewType("TokenId", str)

_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's, in lower case, which TypeID uses
_PAIRS = tuple(high + low for high in _DIGITS for low in _DIGITS)
_PAIR_SHIFTS = tuple(range(120, -1, -10))  # 128 bits, right-aligned in 13 pairs of two digits


def _suffix(raw: bytes) -> str:
    """Every answer to a write needs several: this takes a third of what base64's function does."""
    number = int.from_bytes(raw, "big")
    return "".join([_PAIRS[(number >> shift) & 0x3FF] for shift in _PAIR_SHIFTS])


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
