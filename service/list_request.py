"""What one reader asks of the customer list, after validation and before any query.

Invariant: every bound has been checked by who builds it, so a reader of this only has to carry it
out. Standard library only: the HTTP border writes it and the queries read it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias, get_args

SortField: TypeAlias = Literal[
    "createdAt",
    "updatedAt",
    "email",
    "firstName",
    "lastName",
    "orderCount",
    "totalSpent",
    "lastOrderAt",
]
SORT_FIELDS: tuple[SortField, ...] = get_args(SortField)

PAGE_DEFAULT = 1
DISPLAY_DEFAULT = 20
DISPLAY_MAX = 100  # the documented maximum of items on a page
SEARCH_CHARACTERS_MAX = 200
TAG_FILTERS_MAX = 20
CURSOR_CHARACTERS_MAX = 7_000  # an address and two names, each of 256 characters, sealed


@dataclass(frozen=True, slots=True)
class SortKey:
    """What has no value comes last in either direction."""

    field: SortField
    is_descending: bool


SORT_DEFAULT: tuple[SortKey, ...] = (SortKey("createdAt", True),)


@dataclass(frozen=True, slots=True)
class ListRequest:
    """One page of a tenant's customers: all filters hold at once, None filters nothing.

    `cursor` comes from the answer before and then decides where the page starts; `page` is 1 then.
    """

    page: int = PAGE_DEFAULT  # from 1; any depth
    display: int = DISPLAY_DEFAULT  # items on a page: 1..DISPLAY_MAX
    sort: tuple[SortKey, ...] = SORT_DEFAULT  # never empty, no field twice; ties fall to the id
    q: str | None = None  # trimmed and not empty, as typed: words and folding are the reader's
    tags: tuple[str, ...] = ()  # trimmed, as typed; compared case-insensitively; all must be held
    since: datetime | None = None  # created strictly after; aware
    until: datetime | None = None  # created strictly before; aware
    updated_since: datetime | None = None  # updated strictly after; aware
    active: bool | None = None
    email: str | None = None  # exact, in the stored form (lower case)
    min_spent: int | None = None  # minor units, included
    max_spent: int | None = None
    min_orders: int | None = None
    max_orders: int | None = None
    cursor: str | None = None
    min_position: int | None = None  # wait, bounded, until the read model shows this position
