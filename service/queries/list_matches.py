"""Which rows match, in SQL: the conditions on one table's rows, and the exact count.

Invariant: the count and the page name the same conditions, so they speak of the same customers.
Every select reads one table; what stands in another is looked up row by row.
"""

from __future__ import annotations

from service.list_request import SortField
from service.queries.list_shape import TABLE_OF_COLUMN, TABLE_OF_FILTER, Shape, Table
from service.queries.pieces import both, piece


def count(shape: Shape) -> str:
    """An expression for the number of rows that match."""
    activity = "".join(
        piece(f"count_only_{name}") for name in shape.filters if name in ("active", "inactive")
    )
    match shape.count:
        case "all":
            return piece("count_all", activity=activity)
        case "tag":
            return piece("count_tag", activity=activity, tag_id=piece("tag_id", number=1))
        case "scan":
            where = both(match_conditions(shape))
            return piece("count_scan", source=piece(f"from_{shape.base}"), where=where)
        case "since" | "until" | "between" | "matched" | "known":
            return piece(f"count_{shape.count}")


def match_conditions(shape: Shape) -> list[str]:
    """What every row of `shape.base` fulfils that matches."""
    tag_ids = _tag_ids(shape)
    if shape.base == "tagged":
        return [piece("filter_tagged", tag_id=tag_ids[0]), *_filters(shape, "tagged")]
    if not shape.by_tag:
        return walk_conditions(shape, shape.base)
    # A tag is one tenant's; and the tenant's own index must not seem a way to these rows.
    found = piece("filter_tags", tag_ids=", ".join(tag_ids))
    return [found, *_filters(shape, shape.base)]


def walk_conditions(shape: Shape, table: Table) -> list[str]:
    """What every row of any other table fulfils that matches."""
    return [piece("filter_tenant"), *filter_conditions(shape, table)]


def filter_conditions(
    shape: Shape, table: Table, skipped: frozenset[str] = frozenset()
) -> list[str]:
    """The filters and tags alone, without those filters that are `skipped`."""
    has_tags = [piece("filter_has_tag", tag_id=tag_id) for tag_id in _tag_ids(shape)]
    if has_tags and not _has_tags(table):
        has_tags = [piece("look_up_profile", wanted=both(has_tags))]
    return [*has_tags, *_filters(shape, table, skipped)]


def column(field: SortField, table: Table) -> str:
    """A sort key's column for the rows of a table."""
    found, owner = piece(f"column_{field}"), TABLE_OF_COLUMN[field]
    is_near = owner == table or (table == "tagged" and field == "createdAt")
    return found if is_near else piece(f"look_up_{owner}", wanted=found)


def _filters(shape: Shape, table: Table, skipped: frozenset[str] = frozenset()) -> list[str]:
    """What the table's own columns tell first, then what has to be looked up."""
    found: dict[Table, list[str]] = {table: []}
    for name in shape.filters:
        if name not in skipped and not (name == "grams" and table != "search"):
            found.setdefault(_owner(name, table), []).append(piece(f"filter_{name}"))
    looked_up = (
        piece(f"look_up_{other}", wanted=both(conditions))
        for other, conditions in found.items()
        if other != table
    )
    return [*found[table], *looked_up]


def _owner(name: str, table: Table) -> Table:
    """The table that tells whether the filter holds, if possible this one."""
    if name in ("active", "inactive"):
        return table if _has_tags(table) else "profile"
    if table == "tagged" and name in ("since", "until"):
        return table
    return TABLE_OF_FILTER[name]


def _has_tags(table: Table) -> bool:
    return table in ("profile", "activity")


def _tag_ids(shape: Shape) -> list[str]:
    return [piece("tag_id", number=number + 1) for number in range(shape.tags)]
