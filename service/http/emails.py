"""E-mail addresses: which are well formed, and the one form in which each is kept and compared.

Invariant: the form is stable, so normalizing it again gives itself. The fast path accepts only what
the library accepts, with the same result; a property test holds the two together.
"""

from __future__ import annotations

import re

import email_validator
from email_validator import EmailNotValidError, validate_email

EMAIL_CHARACTERS_MAX = 254  # RFC 5321 4.5.3.1.3, less the angle brackets
LOCAL_PART_BYTES_MAX = 64  # RFC 5321 4.5.3.1.1; the library minds it only when it is strict

# Reserved names (.test, .invalid, .local …) are a matter of delivery, not of syntax; emptying the
# list is the library's documented switch.
email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()

# Plain ASCII only, no quoting, no doubled dash (punycode has one), a domain shorter than a label.
_PLAIN = re.compile(
    r"(?=[^@]{1,64}@[^@]{1,63}\Z)"
    r"[A-Za-z0-9_+-]+(?:\.[A-Za-z0-9_+-]+)*"
    r"@(?:[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*\.)+[A-Za-z]{2,}"
)


def normalized_email(value: str) -> str | None:
    """The address lower-cased whole, in its one form; None where it is not an e-mail address."""
    if _PLAIN.fullmatch(value):
        return value.lower()
    return normalized_by_library(value)


def normalized_by_library(value: str) -> str | None:
    """What the fast path must agree with. Touches no network."""
    if len(value) > EMAIL_CHARACTERS_MAX:
        return None
    once = _checked(value)
    # Lower-casing can change what is normal (a dotted capital I gives two characters).
    return once if once is None or once.isascii() or _checked(once) == once else None


def _checked(value: str) -> str | None:
    try:
        found = validate_email(value, check_deliverability=False)
    except EmailNotValidError:
        return None
    lowered = found.normalized.lower()
    if len(lowered.rpartition("@")[0].encode()) > LOCAL_PART_BYTES_MAX:
        return None
    return lowered if len(lowered) <= EMAIL_CHARACTERS_MAX else None
