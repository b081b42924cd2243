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
_TRIPLES = tuple(pair + low for pair in _PAIRS for low in _DIGITS)


def _suffix(number: int) -> str:
    """128 bits, right-aligned in 26 digits of five. Every answer to a write needs several of these,
    and every line of an export one: written out, it takes half of what a loop does."""
    pairs, three = _PAIRS, _TRIPLES
    return (
        f"{pairs[number >> 120]}{three[number >> 105 & 0x7FFF]}{three[number >> 90 & 0x7FFF]}"
        f"{three[number >> 75 & 0x7FFF]}{three[number >> 60 & 0x7FFF]}"
        f"{three[number >> 45 & 0x7FFF]}{three[number >> 30 & 0x7FFF]}"
        f"{three[number >> 15 & 0x7FFF]}{three[number & 0x7FFF]}"
    )


def new_customer_id() -> CustomerId:
    return CustomerId("cust_" + _suffix(uuid7().int))


def new_address_id() -> AddressId:
    return AddressId("addr_" + _suffix(uuid7().int))


def new_token_id() -> TokenId:
    return TokenId("tok_" + _suffix(uuid7().int))


class EventKey(Protocol):
    """A UUID, whichever library made it."""

    @property
    def bytes(self) -> bytes: ...


def new_event_key() -> EventKey:
    """The UUID under which an event is stored; `event_id` shows it."""
    return uuid7()


def event_id(key: EventKey) -> EventId:
    return EventId("evt_" + _suffix(int.from_bytes(key.bytes, "big")))


def event_id_of(text: str) -> EventId:
    """The same of a UUID in hexadecimal digits, with hyphens or without."""
    return EventId("evt_" + _suffix(int(text.replace("-", ""), 16)))
