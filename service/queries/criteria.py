"""Which customers a list is about: a request's filters in the form in which they are compared.

Invariant: two requests for the same customers have equal criteria, however they were spelled.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime

from service.folding import fold, sort_key, tag_key
from service.list_request import ListRequest

SORT_KEY_START_MAX = 100  # characters; stored sort keys are whole at least so far


@dataclass(frozen=True, slots=True)
class Criteria:
    """All hold at once; None and () filter nothing."""

    tenant: str
    words: tuple[str, ...]  # folded, in order, each once
    tags: tuple[str, ...]  # keys, in order, each once
    since: datetime | None
    until: datetime | None
    updated_since: datetime | None
    active: bool | None
    email: str | None  # lower-cased whole, as it is stored
    min_spent: int | None
    max_spent: int | None
    min_orders: int | None
    max_orders: int | None

    @classmethod
    def of(cls, tenant: str, request: ListRequest) -> Criteria:
        return cls(
            tenant=tenant,
            words=_words(request.q) if request.q else (),
            tags=tuple(sorted({tag_key(tag) for tag in request.tags})) if request.tags else (),
            since=_utc(request.since),
            until=_utc(request.until),
            updated_since=_utc(request.updated_since),
            active=request.active,
            email=None if request.email is None else request.email.lower(),
            min_spent=request.min_spent,
            max_spent=request.max_spent,
            min_orders=request.min_orders,
            max_orders=request.max_orders,
        )

    def filters(self) -> Iterator[str]:
        """Names of the filters that are set, words and tags left out."""
        if self.since is not None:
            yield "since"
        if self.until is not None:
            yield "until"
        if self.updated_since is not None:
            yield "updated_since"
        if self.active is not None:
            yield "active" if self.active else "inactive"
        if self.email is not None:
            yield "email"
        for name in ("min_spent", "max_spent", "min_orders", "max_orders"):
            if getattr(self, name) is not None:
                yield name

    def values(self) -> dict[str, object]:
        """What the statement's pieces call by name."""
        values: dict[str, object] = {
            "tenant": self.tenant,
            "since": self.since,
            "until": self.until,
            "updated_since": self.updated_since,
            "email": self.email,
            "min_spent": self.min_spent,
            "max_spent": self.max_spent,
            "min_orders": self.min_orders,
            "max_orders": self.max_orders,
        }
        if self.since is not None:
            values["since_day"] = self.since.date()
        if self.until is not None:
            values["until_day"] = self.until.date()
        if self.email is not None:
            start = sort_key(self.email)[: len(fold(self.email)) + 1][:SORT_KEY_START_MAX]
            values |= {"email_from": start, "email_to": start + chr(sys.maxunicode)}
        for number, tag in enumerate(self.tags, start=1):
            values[f"tag_{number}"] = tag
        return values

    def is_bounded_in_both_tables(self) -> bool:
        """By the time of creation, and by something that orders change."""
        changing = (self.updated_since, self.min_spent, self.max_spent, self.min_orders)
        is_changing = any(each is not None for each in (*changing, self.max_orders))
        return is_changing and not (self.since is None and self.until is None)

    def created_alone(self) -> Criteria:
        """Only the tenant and the time of creation."""
        return replace(
            self,
            words=(),
            tags=(),
            updated_since=None,
            active=None,
            email=None,
            min_spent=None,
            max_spent=None,
            min_orders=None,
            max_orders=None,
        )

    def can_match(self) -> bool:
        """False where a text could not even be stored, so no customer can have it."""
        texts = (*self.words, *self.tags, self.email or "")
        return all(_is_storable(text) for text in texts)

    def binding(self) -> bytes:
        """The same for equal criteria only."""
        return repr([(field.name, getattr(self, field.name)) for field in fields(self)]).encode(
            errors="surrogatepass"
        )


def _words(text: str) -> tuple[str, ...]:
    """Folded; where nothing is left, as it came: no folded text has that, so it finds nobody."""
    return tuple(sorted(set(fold(text).split()))) or (text,)


def _utc(time: datetime | None) -> datetime | None:
    return None if time is None else time.astimezone(UTC)


def _is_storable(text: str) -> bool:
    if text.isascii():
        return "\0" not in text
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)
