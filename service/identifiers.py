"""Identifiers that sort by the time they were made: a prefix and a UUIDv7 in base 32 (TypeID 0.3).

Invariant: an identifier is opaque on input. Nothing parses one to learn something from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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


def event_ids_of(texts: Sequence[str]) -> list[str]:
    """As `event_id`, of each of several UUIDs in hexadecimal digits, with hyphens or without."""
    shown = "".join(
        _suffixes(texts[start : start + _LANES]) for start in range(0, len(texts), _LANES)
    )
    return [f"evt_{shown[start : start + _LANE]}" for start in range(0, len(shown), _LANE)]


def _suffixes(texts: Sequence[str]) -> str:
    """What `_suffix` gives for each, one after the other, in a third of the time.

    One number holds them all, each in a lane of as many bytes as it has digits. In five steps the
    digits move to bytes of their own: the upper ones of a group by three bits for each digit below.
    """
    gap = "0" * (2 * _LANE - 32)
    number = int(gap + gap.join(texts).replace("-", ""), 16)
    for stay, move, bits in _STEPS:
        number = number & stay | (number & move) << bits
    return number.to_bytes(_LANE * len(texts), "big").translate(_SHOWN).decode()


_LANE = 26  # bytes; as many as digits
_LANES = 256
_SHOWN = _DIGITS.encode().ljust(256, b"?")


def _steps() -> Iterator[tuple[int, int, int]]:
    """For each step: the bits that stay, those that move, and how far; in all lanes."""
    feet = int.from_bytes((bytes(_LANE - 1) + b"\1") * _LANES, "big")  # a bit at each lane's foot
    groups = [(0, _LANE)]  # the first bit of each, and its digits
    for digits in (16, 8, 4, 2, 1):
        stay = sum(_ones(min(digits, held)) << start for start, held in groups)
        larger = [(start, held - digits) for start, held in groups if held > digits]
        move = sum(_ones(held) << (start + 5 * digits) for start, held in larger)
        yield feet * stay, feet * move, 3 * digits
        groups = [(start, min(digits, held)) for start, held in groups]
        groups += [(start + 8 * digits, held) for start, held in larger]


def _ones(digits: int) -> int:
    return (1 << 5 * digits) - 1


_STEPS = tuple(_steps())
