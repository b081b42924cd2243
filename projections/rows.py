"""From changes of customers to rows of the read model's tables; pure.

Invariant: a row is written only where one of its columns has changed, and rows come sorted by the
customer's id, so that two writers who meet wait for each other and do not deadlock.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import date, datetime
from operator import itemgetter
from typing import NamedTuple

from projections.customers import Change
from projections.documents import Document, Listing, written
from service.folding import grams, search_words, sort_key, tag_key

ALL_TAGS = ""  # stands for the count of all customers, whatever their tags; no tag is blank
SORT_KEY_CHARACTERS_MAX = 300  # with 250 tags beside it, what an index row of 2,704 bytes holds


class CustomerRow(NamedTuple):
    id: str
    tenant: str
    old_version: int  # 0 = a new row
    version: int
    position: int
    document: str | None
    item: str | None


class ActivityRow(NamedTuple):
    id: str
    total_spent: int
    order_count: int
    updated_at: datetime
    last_order_at: datetime | None


class AnonymousRow(NamedTuple):
    """A deletion: whose orders stand under `reference` from now on."""

    customer_id: str
    reference: str
    tenant: str
    deleted_at: datetime


class OrderRow(NamedTuple):
    customer_id: str  # a deleted customer's anonymous reference
    order_id: str
    order_version: int
    currency: str
    amount: int
    is_countable: bool
    placed_at: datetime
    state: str  # JSON


class ListingRow(NamedTuple):
    """A row of `profile` and the whole row of `activity`."""

    id: str
    tenant: str
    created_at: datetime
    email: str
    email_key: str
    first_key: str | None
    last_key: str | None
    is_active: bool
    tags: frozenset[str]  # keys
    activity: ActivityRow


class SearchRow(NamedTuple):
    id: str
    tenant: str
    words: str
    grams: set[int]


class TagRow(NamedTuple):
    """A row of `tagged`."""

    tenant: str
    tag: str  # key
    created_at: datetime
    id: str


class Parking(NamedTuple):
    customer_id: str
    tenant: str
    stream_version: int
    position: int
    reason: str


@dataclass(slots=True)
class Rows:
    """What a batch writes."""

    customers: list[CustomerRow] = field(default_factory=list)
    activities: list[ActivityRow] = field(default_factory=list)  # of those not in `listings`
    orders: list[OrderRow] = field(default_factory=list)
    listings: list[ListingRow] = field(default_factory=list)
    searches: list[SearchRow] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    anonymous: list[AnonymousRow] = field(default_factory=list)
    untagged: list[TagRow] = field(default_factory=list)
    tagged: list[TagRow] = field(default_factory=list)
    parked: list[Parking] = field(default_factory=list)
    counts: Counter[tuple[str, str, bool]] = field(default_factory=Counter)  # tenant, tag, active
    days: Counter[tuple[str, date]] = field(default_factory=Counter)  # tenant, day of creation

    def tags(self) -> set[tuple[str, str]]:
        """Every (tenant, tag key) that is named."""
        named = {(row.tenant, tag) for row in self.listings for tag in row.tags}
        named |= {(row.tenant, row.tag) for row in self.untagged}
        return named | {(tenant, tag) for tenant, tag, _ in self.counts if tag != ALL_TAGS}

    def add(self, change: Change, *, is_counted: bool = True) -> None:
        """Add what a change leads to; in the order of the customers' ids. Not `is_counted`: the
        tables are counted once all is in them."""
        if change.updated_at is not None:
            _add(self, change, change.updated_at, is_counted=is_counted)
        if (stop := change.stop) is not None:
            self.parked.append(
                Parking(change.customer_id, change.tenant, stop.version, stop.position, stop.reason)
            )

    def sort(self) -> None:
        """Put the rows in order where the changes did not come so."""
        for rows in (self.customers, self.activities, self.orders, self.listings, self.searches):
            rows.sort(key=itemgetter(0))
        self.gone.sort()
        self.anonymous.sort()


def _add(rows: Rows, change: Change, updated_at: datetime, *, is_counted: bool) -> None:
    document = change.document
    whole, item = (None, None) if document is None else written(document)
    rows.customers.append(
        CustomerRow(
            change.customer_id,
            change.tenant,
            change.old_version,
            change.version,
            change.position,
            whole,
            item,
        )
    )
    owner = change.reference or change.customer_id
    for order_id, (contribution, order) in change.orders.items():
        state = order.__pydantic_serializer__.to_json(order, by_alias=True).decode()
        rows.orders.append(OrderRow(owner, order_id, *contribution, state))
    if change.reference is not None and change.deleted_at is not None:
        rows.anonymous.append(
            AnonymousRow(change.customer_id, change.reference, change.tenant, change.deleted_at)
        )
    if document is not None:
        _add_living(rows, change, document, updated_at, is_counted=is_counted)
    elif change.before is not None:
        rows.gone.append(change.customer_id)
        _tag(rows, change, _tag_keys(change.before), frozenset())
        _count(rows, change, _tag_keys(change.before), frozenset())


def _add_living(
    rows: Rows, change: Change, document: Document, updated_at: datetime, *, is_counted: bool
) -> None:
    last_order_at = document["lastOrderAt"]
    activity = ActivityRow(
        change.customer_id,
        document["totalSpent"],
        document["orderCount"],
        updated_at,
        None if last_order_at is None else datetime.fromisoformat(last_order_at),
    )
    before, after = change.before, change.after
    if after is None or before == after:
        rows.activities.append(activity)
        return
    old, new = _tag_keys(before), _tag_keys(after)
    rows.listings.append(_listing(change.tenant, after, new, activity))
    if before is None or _names(before) != _names(after):
        words = search_words(*_names(after))
        found_by = grams(words, change.tenant)
        rows.searches.append(SearchRow(change.customer_id, change.tenant, words, found_by))
    _tag(rows, change, old, new)
    if is_counted:
        _count(rows, change, old, new)


def _listing(
    tenant: str, after: Listing, tags: frozenset[str], activity: ActivityRow
) -> ListingRow:
    return ListingRow(
        activity.id,
        tenant,
        after.created_at,
        after.email,
        _key(after.email),
        None if after.first_name is None else _key(after.first_name),
        None if after.last_name is None else _key(after.last_name),
        after.is_active,
        tags,
        activity,
    )


def _key(text: str) -> str:
    return sort_key(text)[:SORT_KEY_CHARACTERS_MAX]


def _names(listing: Listing) -> tuple[str | None, str | None, str]:
    return listing.first_name, listing.last_name, listing.email


def _tag_keys(listing: Listing | None) -> frozenset[str]:
    return frozenset() if listing is None else frozenset(map(tag_key, listing.tags))


def _tag(rows: Rows, change: Change, old: frozenset[str], new: frozenset[str]) -> None:
    """Who carries which tag."""
    tenant, before, after = change.tenant, change.before, change.after
    if before is not None:
        rows.untagged += [
            TagRow(tenant, tag, before.created_at, change.customer_id) for tag in sorted(old - new)
        ]
    if after is not None:
        rows.tagged += [
            TagRow(tenant, tag, after.created_at, change.customer_id) for tag in sorted(new - old)
        ]


def _count(rows: Rows, change: Change, old: frozenset[str], new: frozenset[str]) -> None:
    """How many they are."""
    tenant, before, after = change.tenant, change.before, change.after
    if before is not None:
        for tag in (ALL_TAGS, *old):
            rows.counts[tenant, tag, before.is_active] -= 1
        rows.days[tenant, before.created_at.date()] -= 1
    if after is not None:
        for tag in (ALL_TAGS, *new):
            rows.counts[tenant, tag, after.is_active] += 1
        rows.days[tenant, after.created_at.date()] += 1
