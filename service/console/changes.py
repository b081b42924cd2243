"""What an event changed, as lines for people: before and after, field by field; pure.

Invariant: of lists and maps only what differs is shown, and of everything else both values whole.
Values are text by the time they leave here; nothing in them is markup yet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from pydantic import JsonValue

from service.console.formats import moment, money, words

_MONEY = "totalSpent"
_MONEY_BY_CURRENCY = "spentByCurrency"
_TIME = "lastOrderAt"
_TAKES_NO_PART = frozenset({"id", "isDefault"})  # of an address: told otherwise, or for programs


@dataclass(frozen=True, slots=True)
class ChangeRow:
    """One field; no line: there was, or is, nothing."""

    field: str
    before: Sequence[str]
    after: Sequence[str]


def change_rows(
    changes: Mapping[str, tuple[JsonValue, JsonValue]], currency: str
) -> Sequence[ChangeRow]:
    """`changes`: by field of the customer, its values before and after. Fields that went from
    nothing to nothing, as at a creation, are left out."""
    rows = [_row(field, old, new, currency) for field, (old, new) in changes.items()]
    return [row for row in rows if row.before or row.after]


def _row(field: str, old: JsonValue, new: JsonValue, currency: str) -> ChangeRow:
    before, after = _items(field, old, currency), _items(field, new, currency)
    if isinstance(old, list | dict) and isinstance(new, list | dict) and set(before) != set(after):
        kept = set(before) & set(after)
        before = [line for line in before if line not in kept]
        after = [line for line in after if line not in kept]
    return ChangeRow(words(field), before, after)


def _items(field: str, value: JsonValue, currency: str) -> list[str]:
    """The lines of a value; of none where there is nothing in it."""
    if value is None:
        return []
    if isinstance(value, list):
        return [_line(item) for item in value]
    if isinstance(value, dict):
        if field == _MONEY_BY_CURRENCY:
            return [money(_amount(item), name) for name, item in value.items()]
        return [f"{name}: {_line(item)}" for name, item in value.items()]
    if field == _TIME:
        return [moment(datetime.fromisoformat(str(value)))]
    return [money(_amount(value), currency) if field == _MONEY else _line(value)]


def _amount(value: JsonValue) -> int:
    assert isinstance(value, int), "amounts are whole minor units"
    return value


def _line(value: JsonValue) -> str:
    if isinstance(value, dict):
        return address_line(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "null" if value is None else str(value)


def address_line(address: Mapping[str, JsonValue]) -> str:
    """An address on one line, the default one marked."""
    parts = [str(value) for name, value in address.items() if value and name not in _TAKES_NO_PART]
    return ", ".join(parts) + (" (default)" if address.get("isDefault") else "")
