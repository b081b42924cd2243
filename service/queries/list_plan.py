"""Which statement serves which list. Pure.

Invariant: every plan gives the same answer; they differ in what they cost. The server alone cannot
choose well: it does not know how many carry this request's tag, nor that few rows are wanted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from service.list_request import SortKey
from service.queries.criteria import Criteria
from service.queries.list_shape import (
    EMPTY_FIELDS,
    FIELD_OF_FILTER,
    TABLE_OF_COLUMN,
    TABLE_OF_FILTER,
    UNINDEXED_FIELDS,
    CountBy,
    Paging,
    Route,
    Shape,
    Table,
)
from service.queries.population import Members

DEEP_OFFSET_ROWS = 1_000  # from here on it pays to look for a nearer way
SCANNED_CUSTOMERS_MIN = 20_000  # for a single letter the table of words is read from end to end
SPARSE_SHARE = 20  # a tag that fewer than every twentieth customer has is best found by its index

# What things cost on the server, in microseconds, at a million customers (PostgreSQL 15).
ENTRY_COST = 0.2  # a look at an index entry
ROW_COST = 1.0  # a row of a table, by its key
UNCAPPED_RISK = 4.0  # a walk that nothing ends early has to look so much better


@dataclass(frozen=True, slots=True)
class Wanted:
    """A page of a list, as far as its plan depends on it. `after`: as in Shape."""

    criteria: Criteria
    sort: tuple[SortKey, ...]
    rows: int
    offset: int = 0
    after: tuple[bool, ...] = ()
    has_grams: bool = False
    is_walk_cut: bool = False  # a capped walk was tried, and ended too early


@dataclass(frozen=True, slots=True)
class Known:
    """Rough numbers: all of the tenant's customers, who carries each tag, and who matches."""

    everybody: Members
    tagged: Sequence[Members] = ()
    matches: int | None = None
    is_created_range_small: bool = False  # `since` and `until` alone leave few


@dataclass(frozen=True, slots=True)
class Plan:
    shape: Shape
    entries_max: int | None = None  # the cap of a capped walk


def needs_population(wanted: Wanted) -> bool:
    """Whether `plan` will ask how many there are, and who carries a tag."""
    if wanted.criteria.email is not None:
        return False
    return bool(wanted.criteria.tags or _filters(wanted)) or wanted.offset >= DEEP_OFFSET_ROWS


def needs_matches(wanted: Wanted) -> bool:
    """Whether `plan` can make use of knowing how many match, and no counter tells."""
    if set(_filters(wanted)) <= _COUNTED and len(wanted.criteria.tags) <= 1:
        return False
    return _evident_route(wanted) is None


def must_count(wanted: Wanted, known: Known) -> bool:
    """Whether to count before anything else; else what matches is gathered and counted in one."""
    return not (wanted.has_grams or _is_found_by_tag(wanted, known))


def plan(wanted: Wanted, known: Known) -> Plan:
    """What is known may be rough; it may be zero where it is not needed."""
    route = _evident_route(wanted) or _weighed_route(wanted, known)
    counted = _count(wanted, route)
    by_tag = route != "tagged" and _is_found_by_tag(wanted, known)
    shape = Shape(
        route=route,
        sort=wanted.sort,
        filters=_filters(wanted),
        tags=len(wanted.criteria.tags),
        base="tagged" if route == "tagged" else _base(wanted, known, by_tag=by_tag),
        by_tag=by_tag,
        paging=_paging(wanted, route, counted, _members(wanted, known)),
        count=counted,
        after=wanted.after,
    )
    return Plan(shape, _entries_max(wanted, known) if route == "capped" else None)


def counting(wanted: Wanted, known: Known) -> Shape:
    """The shape whose count can be asked for alone, before anything is planned."""
    shape = plan(wanted, replace(known, matches=1)).shape
    return replace(shape, count=_count(wanted, "walk"))


_COUNTED = {"active", "inactive"}  # filters that every counter distinguishes


def _filters(wanted: Wanted) -> tuple[str, ...]:
    found = tuple(wanted.criteria.filters())
    if wanted.criteria.words:
        found = ("patterns", *found)
    return ("grams", *found) if wanted.has_grams else found


def _evident_route(wanted: Wanted) -> Route | None:
    """What needs no weighing: there is an index for it, or nothing but one way."""
    filters = set(_filters(wanted))
    fields = {FIELD_OF_FILTER.get(name) for name in filters - {"patterns", "grams"}}
    is_by_creation = [key.field for key in wanted.sort] == ["createdAt"]
    if wanted.criteria.email is not None:
        return "gather"
    if wanted.criteria.words:
        return None
    if len(wanted.criteria.tags) == 1:
        return "tagged" if is_by_creation and fields <= {"createdAt", None} else None
    if not wanted.criteria.tags and fields <= {wanted.sort[0].field}:
        return "walk"
    if not wanted.criteria.tags and filters == {"inactive"} and is_by_creation:
        return "walk"
    return None


def _is_found_by_tag(wanted: Wanted, known: Known) -> bool:
    """A tag that few carry leads to all matches; among words it is only looked at."""
    if not known.tagged or wanted.criteria.words:
        return False
    fewest = min(each.number(None) for each in known.tagged)
    is_counted = set(_filters(wanted)) <= _COUNTED
    return is_counted or fewest * SPARSE_SHARE < known.everybody.number(None)


def _base(wanted: Wanted, known: Known, *, by_tag: bool) -> Table:
    """Where matches are found: by the most telling filter that has an index."""
    filters = _filters(wanted)
    if wanted.criteria.email is not None or by_tag:
        return "profile"
    if wanted.criteria.words:
        is_large = known.everybody.number(None) >= SCANNED_CUSTOMERS_MIN
        return "search" if wanted.has_grams or is_large else "profile"
    tables = {TABLE_OF_FILTER[name] for name in filters if name in TABLE_OF_FILTER}
    if "activity" not in tables or ("profile" in tables and known.is_created_range_small):
        return "profile"
    return "activity"


def _members(wanted: Wanted, known: Known) -> int:
    """How many match."""
    if known.matches is not None:
        return known.matches
    return min(
        (each.number(wanted.criteria.active) for each in known.tagged),
        default=known.everybody.number(wanted.criteria.active),
    )


def _weighed_route(wanted: Wanted, known: Known) -> Route:
    """Walk in the wanted order and skip what does not match, or gather what matches and sort it."""
    first = wanted.sort[0]
    if wanted.is_walk_cut or (known.matches is None and needs_matches(wanted)):
        return "gather"
    if first.field in UNINDEXED_FIELDS:
        return "gather"
    members, total = _members(wanted, known), known.everybody.number(None)
    rows = wanted.offset + wanted.rows
    if wanted.offset >= DEEP_OFFSET_ROWS:
        rows = min(rows, max(members - wanted.offset, wanted.rows))
    walk_cost = rows * total / max(members, 1) * _entry_cost(wanted)
    gather_cost = members * _member_cost(wanted)
    if len(wanted.sort) > 1 or first.field in EMPTY_FIELDS:
        return "walk" if walk_cost * UNCAPPED_RISK <= gather_cost else "gather"
    return "capped" if walk_cost <= gather_cost else "gather"


def _entry_cost(wanted: Wanted) -> float:
    """An index has tags and activity in its entries; for the rest a row has to be looked up."""
    bounding = {wanted.sort[0].field, None}
    filters = (name for name in _filters(wanted) if name in TABLE_OF_FILTER)
    tables = {
        TABLE_OF_FILTER[name] for name in filters if FIELD_OF_FILTER.get(name) not in bounding
    }
    if wanted.criteria.words:
        tables.add("search")
    return ENTRY_COST + ROW_COST * len(tables)


def _member_cost(wanted: Wanted) -> float:
    """A member is found by its row in one table, and looked up in others."""
    tables = {TABLE_OF_COLUMN[key.field] for key in wanted.sort}
    tables |= {TABLE_OF_FILTER[name] for name in _filters(wanted) if name in TABLE_OF_FILTER}
    if wanted.criteria.tags:
        tables.add("profile")
    return ROW_COST * len(tables)


def _entries_max(wanted: Wanted, known: Known) -> int:
    """As many entries as gathering costs: so a wrong guess costs twice the best at most."""
    gather_cost = _members(wanted, known) * _member_cost(wanted)
    return int(gather_cost / _entry_cost(wanted)) + wanted.offset + wanted.rows


def _count(wanted: Wanted, route: Route) -> CountBy:
    criteria, filters = wanted.criteria, set(_filters(wanted))
    if filters <= _COUNTED and len(criteria.tags) <= 1:
        return "tag" if criteria.tags else "all"
    if route == "gather":
        return "matched"
    if criteria.tags or not filters <= {"since", "until"}:
        return "scan"
    if criteria.until is None:
        return "since"
    if criteria.since is None:
        return "until"
    return "between" if criteria.since.date() < criteria.until.date() else "scan"


def _paging(wanted: Wanted, route: Route, counted: CountBy, members: int) -> Paging:
    if wanted.offset == 0:
        return "first"
    if wanted.offset < DEEP_OFFSET_ROWS or len(wanted.sort) > 1 or counted not in ("all", "tag"):
        return "later"
    first = wanted.sort[0]
    if route == "walk" and first.field == "createdAt" and not _filters(wanted):
        return "day"
    if route == "gather" or first.field in UNINDEXED_FIELDS:
        return "later"
    if first.field in EMPTY_FIELDS and first.is_descending:
        return "later"
    return "far_end" if wanted.offset > members // 2 else "later"
