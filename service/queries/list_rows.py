"""The rows of one page, in SQL: their order, the cursor's place, the offset, from which end.

Invariant: the order is total, because it ends with the id, and the rows after a cursor are exactly
those that the order puts behind it. What has no value comes last in both directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

from service.queries.list_matches import (
    column,
    count,
    filter_conditions,
    match_conditions,
    walk_conditions,
)
from service.queries.list_shape import (
    EMPTY_FIELDS,
    FIELD_OF_FILTER,
    TABLE_OF_COLUMN,
    UNINDEXED_FIELDS,
    Shape,
)
from service.queries.pieces import both, piece


@dataclass(frozen=True, slots=True)
class Rows:
    """A select of (id, key_1, key_2 …), what stands before it, and whether it was cut short."""

    page: str
    matched: str = ""
    is_cut: str = piece("is_not_cut")


def rows(shape: Shape) -> Rows:
    """The rows of the page and one more, which tells whether there is a next page."""
    if shape.route == "gather":
        return _gathered(shape)
    if shape.route == "capped":
        return _capped(shape)
    if shape.paging == "day":
        return Rows(piece("day_descending" if shape.first.is_descending else "day_ascending"))
    if is_read_in_halves(shape):
        return Rows(_halves(shape))
    return Rows(_paged(shape, _select(shape, [*_conditions(shape), *_after_in_index(shape)])))


def is_read_in_halves(shape: Shape) -> bool:
    """Where no index has the whole order, because it has what is empty at its upper end only."""
    field = shape.first.field
    if shape.route != "walk" or field not in EMPTY_FIELDS or field in UNINDEXED_FIELDS:
        return False
    return shape.first.is_descending or bool(shape.after)


def _conditions(shape: Shape) -> list[str]:
    if shape.route == "walk":
        return walk_conditions(shape, shape.rows_from)
    return match_conditions(shape)


def _columns(shape: Shape) -> list[str]:
    return [column(key.field, shape.rows_from) for key in shape.sort]


def _names(shape: Shape) -> list[str]:
    return [piece("key_name", number=number + 1) for number in range(len(shape.sort))]


def _select(shape: Shape, where: Sequence[str], source: str | None = None) -> str:
    keys = enumerate(_columns(shape), start=1)
    return piece(
        "select_keys",
        keys="".join(piece("key", column=each, number=number) for number, each in keys),
        source=source or piece(f"from_{shape.rows_from}"),
        where=both(where),
    )


def _ordered(shape: Shape, where: Sequence[str], source: str | None = None) -> str:
    return piece(
        "ordered", select=_select(shape, where, source), order=_order(shape, _names(shape))
    )


def _order(shape: Shape, columns: Sequence[str]) -> str:
    """Of a walk along an index the first key needs no NULLS LAST, and must not have it."""
    terms: list[str] = []
    for number, key in enumerate(shape.sort):
        is_walked = number == 0 and shape.route != "gather" and key.field not in UNINDEXED_FIELDS
        is_descending = key.is_descending != shape.is_reversed
        empty_last = is_descending and key.field in EMPTY_FIELDS and not is_walked
        name = "descending_empty_last" if empty_last else _direction(is_descending)
        terms.append(piece(name, column=columns[number]))
    by_id = _direction(shape.first.is_descending != shape.is_reversed)
    return _listed([*terms, piece(by_id, column=piece("column_id"))])


def _listed(columns: Sequence[str]) -> str:
    return reduce(lambda left, right: piece("columns", left=left, right=right), columns)


def _direction(is_descending: bool) -> str:
    return "descending" if is_descending else "ascending"


def _paged(shape: Shape, select: str) -> str:
    """A page of a select of keys, in order."""
    select = piece("ordered", select=select, order=_order(shape, _names(shape)))
    match shape.paging:
        case "first":
            return piece("first_page", select=select)
        case "far_end":
            return piece("later_page_from_far_end", select=select, count=count(shape))
        case "later" | "day":
            return piece("later_page", select=select)


def _after_in_index(shape: Shape) -> list[str]:
    """The cursor's place, said so that an index in the first key's order can start there."""
    if not shape.after:
        return []
    columns, is_descending = _columns(shape), shape.first.is_descending
    is_indexed = shape.first.field not in UNINDEXED_FIELDS
    if is_indexed and shape.after == (True,):
        return [piece("row_below" if is_descending else "row_above", column=columns[0])]
    found = [_after(shape, columns)]
    if is_indexed and shape.after[0]:
        bound = "not_above" if is_descending else "not_below"
        found.append(piece(bound, column=columns[0], value="key_1"))
    return found


def _after(shape: Shape, columns: Sequence[str], number: int = 0) -> str:
    """Behind the cursor's row by this sort key, or equal in it and behind by the next ones."""
    if number == len(shape.sort):
        return _beyond(piece("column_id"), shape.first.is_descending, "key_id")
    key, name, value = shape.sort[number], columns[number], f"key_{number + 1}"
    rest = _after(shape, columns, number + 1)
    if not shape.after[number]:
        return both((piece("has_no_value", column=name), rest))
    equal = both((piece("same", column=name, value=value), rest))
    found = piece("or", left=_beyond(name, key.is_descending, value), right=equal)
    if key.field not in EMPTY_FIELDS:
        return found
    return piece("or", left=found, right=piece("has_no_value", column=name))


def _beyond(name: str, is_descending: bool, value: str) -> str:
    return piece("below" if is_descending else "above", column=name, value=value)


def _halves(shape: Shape) -> str:
    columns = _columns(shape)
    empty = [*_conditions(shape), piece("has_no_value", column=columns[0])]
    if shape.after and not shape.after[0]:
        return _paged(shape, _select(shape, [*empty, _after(shape, columns)]))
    valued = [*_conditions(shape), piece("has_value", column=columns[0])]
    if shape.paging == "later":
        return piece(
            "valued_then_empty_later",
            valued=_paged(shape, _select(shape, valued)),
            empty=_ordered(shape, empty),
            source=piece(f"from_{shape.rows_from}"),
            where=both(valued),
        )
    return piece(
        "valued_then_empty",
        valued=_paged(shape, _select(shape, [*valued, *_after_in_index(shape)])),
        empty=_paged(shape, _select(shape, empty)),
    )


def _capped(shape: Shape) -> Rows:
    """A walk over a bounded number of index entries. What bounds the sort column bounds the walk;
    the other filters look at each entry."""
    bounding = [name for name in shape.filters if FIELD_OF_FILTER.get(name) == shape.first.field]
    bounds = (piece(f"filter_{name}") for name in bounding)
    walked = {
        "table": piece(f"from_{shape.rows_from}"),
        "where": both((piece("filter_tenant"), *bounds, *_after_in_index(shape))),
        "order": _order(shape, _columns(shape)),
    }
    capped = piece("from_capped", columns=_walked_columns(shape), **walked)
    filters = filter_conditions(shape, shape.rows_from, frozenset(bounding))
    select = _select(shape, filters or [piece("everything")], capped)
    return Rows(_paged(shape, select), is_cut=piece("is_cut", **walked))


def _walked_columns(shape: Shape) -> str:
    """The sort column, and what else of its table is filtered by."""
    fields = {FIELD_OF_FILTER[name] for name in shape.filters if name in FIELD_OF_FILTER}
    near = {field for field in fields if TABLE_OF_COLUMN[field] == shape.rows_from}
    return _listed([piece(f"column_{field}") for field in sorted(near | {shape.first.field})])


def _gathered(shape: Shape) -> Rows:
    names = _names(shape)
    matched = piece("matched", select=_select(shape, _conditions(shape)))
    where = _after(shape, names) if shape.after else piece("everything")
    return Rows(piece("from_matched", where=where, order=_order(shape, names)), matched)
