"""The shape of a list: everything that the text of its statement depends on, and no value.

Invariant: shapes that are equal give the same statement, so the server meets few texts and keeps
their plans.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from service.list_request import SortField, SortKey

Route: TypeAlias = Literal["walk", "capped", "tagged", "gather"]
"""How the rows are reached: along an index in the wanted order; the same, but at most so many
entries; along one tag's members by creation; or all that match, and then sorted."""

Paging: TypeAlias = Literal["first", "later", "far_end", "day"]
"""Where the page starts: at the start or after a cursor; after an offset; after an offset, counted
from the other end; after an offset, found through the counters of days."""

CountBy: TypeAlias = Literal["all", "tag", "since", "until", "between", "scan", "matched", "known"]
"""Where the count comes from: a counter of all customers or of a tag; whole days and the rest of
the days that the bounds are in; the rows themselves; the rows that were gathered anyway; from
before, if nothing was applied since."""

Table: TypeAlias = Literal["profile", "activity", "search", "tagged"]

TABLE_OF_COLUMN: Mapping[SortField, Table] = {
    "createdAt": "profile",
    "email": "profile",
    "firstName": "profile",
    "lastName": "profile",
    "updatedAt": "activity",
    "orderCount": "activity",
    "totalSpent": "activity",
    "lastOrderAt": "activity",
}
FIELD_OF_FILTER: Mapping[str, SortField] = {
    "since": "createdAt",
    "until": "createdAt",
    "email": "email",
    "updated_since": "updatedAt",
    "min_spent": "totalSpent",
    "max_spent": "totalSpent",
    "min_orders": "orderCount",
    "max_orders": "orderCount",
}
"""The sort field whose column a filter bounds; `active` and `inactive` bound none."""

TABLE_OF_FILTER: Mapping[str, Table] = {
    **{name: TABLE_OF_COLUMN[field] for name, field in FIELD_OF_FILTER.items()},
    "grams": "search",
    "patterns": "search",
}
"""Tags and activity are in the profile and in the activity alike."""

UNINDEXED_FIELDS: frozenset[SortField] = frozenset(("lastOrderAt",))
EMPTY_FIELDS: frozenset[SortField] = frozenset(("firstName", "lastName", "lastOrderAt"))
"""Fields that have no value in some rows."""


@dataclass(frozen=True, slots=True)
class Shape:
    """`capped`, `tagged`, `far_end` and `day` are for one sort key that always has a value.

    `base`: the table in which matches are found, to be gathered or counted; `by_tag`: through the
    index of tags. A walk goes along the table of its first sort key and looks at each row.
    """

    route: Route
    sort: tuple[SortKey, ...]
    filters: tuple[str, ...] = ()  # names of `filter_…` pieces; grams and patterns first
    tags: int = 0  # how many
    base: Table = "profile"
    by_tag: bool = False
    paging: Paging = "first"
    count: CountBy = "all"
    after: tuple[bool, ...] = ()  # after a cursor: whether it has a value, for each sort key

    @property
    def first(self) -> SortKey:
        return self.sort[0]

    @property
    def rows_from(self) -> Table:
        """The table whose rows a page is selected from."""
        walks = self.route in ("walk", "capped")
        return TABLE_OF_COLUMN[self.first.field] if walks else self.base

    @property
    def is_reversed(self) -> bool:
        """The rows come last one first."""
        return self.paging == "far_end"
