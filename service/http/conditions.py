"""Conditions of a request: `If-Match`, `If-None-Match` and `Idempotency-Key`.

Invariant: a condition that cannot be read is refused where carrying on could overwrite something;
where it only spares work, it is as if it were not there. Our entity tags are a version in quotes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from aiohttp import hdrs
from multidict import CIMultiDictProxy

from service.errors import Fault
from service.http.headers import IDEMPOTENCY_KEY
from service.http.problems import Refused

KEY_CHARACTERS_MAX = 255

# RFC 9110 8.8.3; a list may have empty elements. What follows an element is a comma or the end.
# Blanks stand in one place only where there is no tag: or else each of many is tried in both.
_ENTITY_TAG = re.compile(r'[ \t]*(?:(W/)?"([!#-~\x80-\U0010ffff]*)"[ \t]*)?(,|\Z)')
_VERSION = re.compile(r"[1-9][0-9]{0,18}")
_PRINTABLE = re.compile(r"[ -~]{1,255}")
_ESCAPED = re.compile(r'\\(["\\])')


def expected_versions(headers: CIMultiDictProxy[str]) -> frozenset[int] | None:
    """The versions that `If-Match` names; None: whatever it is. Weak tags never match.

    Raises Refused `invalid_if_match`.
    """
    if hdrs.IF_MATCH not in headers:
        return None
    given = ",".join(headers.getall(hdrs.IF_MATCH))
    if given.strip(" \t") == "*":
        return None
    tags = _entity_tags(given)
    if not tags:
        detail = 'Expected * or quoted versions, as in If-Match: "7".'
        raise Refused(
            "invalid_if_match", detail, faults=[Fault("If-Match", "invalid_if_match", detail)]
        )
    return frozenset(_versions(tag for is_weak, tag in tags if not is_weak))


def is_not_modified(headers: CIMultiDictProxy[str], version: int) -> bool:
    """Whether `If-None-Match` names this version; weak tags do as well."""
    if hdrs.IF_NONE_MATCH not in headers:
        return False
    given = ",".join(headers.getall(hdrs.IF_NONE_MATCH))
    if given.strip(" \t") == "*":
        return True
    return version in _versions(tag for _, tag in _entity_tags(given))


def _entity_tags(given: str) -> list[tuple[bool, str]]:
    """Each tag with whether it is weak; none where the list is malformed."""
    tags: list[tuple[bool, str]] = []
    place = 0
    while place < len(given):
        match = _ENTITY_TAG.match(given, place)
        if match is None:
            return []
        if match[2] is not None:
            tags.append((match[1] is not None, match[2]))
        place = match.end()
    return tags


def _versions(tags: Iterator[str]) -> set[int]:
    return {int(tag) for tag in tags if _VERSION.fullmatch(tag)}


def idempotency_key(headers: CIMultiDictProxy[str]) -> str | None:
    """The key, bare or as a quoted string: the same key. Raises Refused."""
    given = headers.getall(IDEMPOTENCY_KEY, None)
    if given is None:
        return None
    key = given[0]
    if key[:1] == '"':
        key = _ESCAPED.sub(r"\1", key[1:-1]) if len(key) > 1 and key[-1] == '"' else ""
    if len(given) > 1 or not _PRINTABLE.fullmatch(key):
        detail = f"Expected one key of 1 to {KEY_CHARACTERS_MAX} printable ASCII characters."
        fault = Fault("Idempotency-Key", "invalid_idempotency_key", detail)
        raise Refused("invalid_idempotency_key", detail, faults=[fault])
    return key
