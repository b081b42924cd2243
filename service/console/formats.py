"""How numbers, times, amounts and names are written for people; pure.

Invariant: times are in UTC and say so, and an amount always has its currency beside it.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

# Digits of minor units where they are not two, of ISO 4217 (list one, 2024).
_DIGITS = {
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG"), 0),
    **dict.fromkeys(("RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    **dict.fromkeys(("CLF", "UYW"), 4),
}
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


def number(value: int) -> str:
    """1234567 as 1,234,567."""
    return f"{value:,}"


def money(minor_units: int, currency: str) -> str:
    """45600 USD as 456.00 USD."""
    digits = _DIGITS.get(currency, 2)
    whole, part = divmod(abs(minor_units), 10**digits)
    sign = "−" if minor_units < 0 else ""
    fraction = f".{part:0{digits}}" if digits else ""
    return f"{sign}{whole:,}{fraction} {currency}"


def reason(text: str, currency: str) -> str:
    """The words that explain an order, whose amounts are in minor units."""
    return re.sub(r"[0-9]+", lambda found: money(int(found[0]), currency), text)


def seconds(value: float) -> str:
    """A length of time, in its largest two units: 0.4 s, 12 s, 3 min 20 s, 2 d 4 h."""
    if value < 10:
        return f"{value:.1f} s"
    left = round(value)
    words: list[str] = []
    for size, unit in _UNITS:
        count, left = divmod(left, size)
        if count or words:
            words.append(f"{count} {unit}")
    return " ".join([*words, f"{left} s"][:2])


def moment(time: datetime) -> str:
    """For people."""
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def machine_time(time: datetime) -> str:
    """For the attribute of <time>."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def clock(time: datetime) -> str:
    """The minute alone, where the day is clear."""
    return time.astimezone(UTC).strftime("%H:%M")


def words(name: str) -> str:
    """`spentByCurrency` or `address_added` as words."""
    spaced = "".join(f" {each.lower()}" if each.isupper() else each for each in name)
    text = spaced.replace("_", " ").strip()
    return text[:1].upper() + text[1:]
