"""The rows that should be beside the rows that are; pure.

Invariant: tables, columns and fields are named, and never what they hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import orjson

from projections.rows import Rows
from projections.verification.held import Activity, Held, Profile, Search, Stream
from service.findings import Finding, Kind

_PROFILE = Profile._fields[1:]
_ACTIVITY = Activity._fields[1:]
_ORDER = ("order_version", "currency", "amount", "is_countable", "placed_at", "order_state")
_ANONYMOUS = ("tenant", "deleted_at")


class _Said(NamedTuple):
    kind: Kind
    detail: str


def compared(stream: Stream, wanted: Rows, held: Held) -> Iterator[Finding]:
    """Every row that is missing, different, or should not be there."""
    for kind, detail in _compared(stream, wanted, held):
        yield Finding(kind, "read_model", detail, stream.customer_id, stream.position)


def _compared(stream: Stream, wanted: Rows, held: Held) -> Iterator[_Said]:
    who = stream.customer_id
    yield from _customer(stream, wanted)
    profile, activity, search = None, None, None
    if wanted.listings:
        (row,) = wanted.listings
        profile = *row[1:8], sorted(row.tags)
        activity = row.tenant, *row.activity[1:], row.is_active, sorted(row.tags)
    if wanted.searches:
        found_by = wanted.searches[0]
        search = found_by.tenant, found_by.words, sorted(found_by.grams)
    yield from _row("profile", _PROFILE, profile, _with_sorted_tags(held.profiles.get(who)))
    yield from _row("activity", _ACTIVITY, activity, _with_sorted_tags(held.activities.get(who)))
    yield from _row("search", Search._fields[1:], search, _with_sorted_grams(held, who))
    yield from _orders(stream, wanted, held)
    yield from _anonymous(stream, wanted, held)


def _customer(stream: Stream, wanted: Rows) -> Iterator[_Said]:
    (row,) = wanted.customers
    pairs = {
        "tenant": (row.tenant, stream.shown_tenant),
        "position": (row.position, stream.position),
        "document": (row.document, stream.document),
        "item": (row.item, stream.item),
    }
    if stream.parked_version is not None:
        del pairs["position"]  # it may be that of a deletion, which hides who is parked
    for name, (ours, theirs) in pairs.items():
        if ours != theirs:
            yield _Said(
                "different", f"customer.{name} is not as the log says{_fields(ours, theirs)}"
            )
    if stream.is_stale != (stream.parked_version is not None):
        yield _Said("different", "customer.is_stale does not agree with projection.parked")


def _fields(ours: object, theirs: object) -> str:
    """Which fields of a JSON document differ."""
    if not isinstance(ours, str) or not isinstance(theirs, str):
        return ""
    try:
        left, right = orjson.loads(ours), orjson.loads(theirs)
        names = sorted(n for n in left.keys() | right.keys() if left.get(n) != right.get(n))
    except (ValueError, AttributeError):  # no JSON, or no object
        return ""
    return f", in {', '.join(names)}" if names else ""


def _row(
    table: str,
    columns: Sequence[str],
    wanted: tuple[object, ...] | None,
    held: tuple[object, ...] | None,
) -> Iterator[_Said]:
    if wanted is None and held is not None:
        yield _Said("unexpected", f"{table} has a row that should not be there")
    elif wanted is not None and held is None:
        yield _Said("missing", f"{table} lacks a row")
    elif wanted is not None and held is not None:
        names = [
            name for name, ours, theirs in zip(columns, wanted, held, strict=True) if ours != theirs
        ]
        if names:
            yield _Said("different", f"{table} differs from the log in {', '.join(names)}")


def _orders(stream: Stream, wanted: Rows, held: Held) -> Iterator[_Said]:
    owners = {stream.customer_id, *(each for each in [stream.reference] if each is not None)}
    ours = {(row.customer_id, row.order_id): tuple(row[2:]) for row in wanted.orders}
    theirs = {
        (owner, order_id): row
        for owner in owners | {owner for owner, _ in ours}
        for order_id, row in held.orders.get(owner, {}).items()
    }
    for key in sorted(ours.keys() | theirs.keys()):
        yield from _row("contribution", _ORDER, ours.get(key), theirs.get(key))


def _anonymous(stream: Stream, wanted: Rows, held: Held) -> Iterator[_Said]:
    ours: Mapping[str, tuple[object, ...]] = {
        row.reference: (row.tenant, row.deleted_at) for row in wanted.anonymous
    }
    if stream.reference not in {None, *ours} or (ours and stream.reference is None):
        yield _Said("different", "customer.anonymous_reference is not as the log says")
    for reference in sorted(ours.keys() | {stream.reference} - {None}, key=str):
        row = held.anonymous.get(str(reference))
        yield from _row("anonymous", _ANONYMOUS, ours.get(str(reference)), row)


def _with_sorted_tags(row: Profile | Activity | None) -> tuple[object, ...] | None:
    return None if row is None else (*row[1:-1], sorted(row.tags))


def _with_sorted_grams(held: Held, who: str) -> tuple[object, ...] | None:
    row = held.searches.get(who)
    return None if row is None else (row.tenant, row.words, sorted(row.grams))
