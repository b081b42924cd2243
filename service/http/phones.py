"""Telephone numbers: what passes for one. They are kept and shown as typed.

Invariant: whatever libphonenumber calls possible passes, and so do 4 to 20 digits with the usual
separators, as people write numbers of their own country.
"""

from __future__ import annotations

import re

from phonenumbers import NumberParseException, is_possible_number, parse

PHONE_CHARACTERS_MAX = 50

# Separators and digits share no character, so matching takes time in proportion to the length.
_DIGITS_AND_SEPARATORS = re.compile(r"\+?(?:[ ./()-]*[0-9]){4,20}[ ./()-]*")


def is_phone(value: str) -> bool:
    """At most PHONE_CHARACTERS_MAX characters are expected; the library is slow on long text."""
    if _DIGITS_AND_SEPARATORS.fullmatch(value):
        return True
    try:
        return is_possible_number(parse(value, None))
    except NumberParseException:
        return False
