"""What a batch of events does to what is shown of a customer; pure.

Invariants: an event is applied only where it is the next of its stream; one seen before is ignored,
one too many is a gap, which the caller heals. After a deletion only orders are taken in, under an
anonymous reference. A forgotten event proves that a deletion follows: nothing is shown from there
on. Count and spend follow from each order's last state, never from how often it was heard of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b
from typing import Literal, NamedTuple, Protocol, TypeAlias

from projections.documents import (
    Document,
    Listing,
    change,
    created,
    listing,
    read_document,
)
from projections.roll_ups import Contribution, contribution, roll_up
from service.documents import timestamp_text
from service.errors import Corrupt
from service.events import (
    EVENT_TYPES,
    CustomerCreated,
    CustomerDeleted,
    Event,
    Order,
    OrderRecorded,
    decode,
)
from service.identifiers import EventId, EventKey, event_id

Reason: TypeAlias = Literal["unknown_type", "undecodable", "impossible", "refused"]
"""Why an event could not be applied: a newer release wrote it; its data does not fit its model; it
cannot follow what came before; the database does not take what it leads to."""

REFERENCE_PREFIX = "anon_"
REFERENCE_BYTES = 16  # as many as an event's id has

SCHEMA_VERSIONS: Mapping[str, int] = {kind.type: kind.schema_version for kind in EVENT_TYPES}


class Fact(Protocol):
    """An event as it was stored, from whichever source: its data is JSON, not yet looked at."""

    @property
    def position(self) -> int: ...
    @property
    def id(self) -> EventId | EventKey: ...
    @property
    def tenant(self) -> str: ...
    @property
    def customer_id(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def type(self) -> str: ...
    @property
    def schema_version(self) -> int: ...
    @property
    def data(self) -> str | bytes: ...
    @property
    def time(self) -> datetime: ...
    @property
    def is_forgotten(self) -> bool:
        """The personal fields are blank: a deletion of the customer follows in the log."""

    @property
    def traceparent(self) -> str | None: ...


class Incoming(NamedTuple):
    """An event with its place, or the reason why it cannot be read."""

    position: int
    tenant: str
    customer_id: str
    version: int
    time: datetime
    event: Event | Reason
    id: EventId | EventKey  # as it is shown, or as it is stored
    is_forgotten: bool = False


class Present(NamedTuple):
    """What is shown of a customer now. `document` is JSON; None = never seen, deleted or forgotten.

    `orders` holds those that the new events speak of; all of the customer's if `has_all_orders`.
    """

    version: int  # 0 = never seen
    is_parked: bool
    document: str | None
    currency: str  # the tenant's, in which `totalSpent` is given
    orders: Mapping[str, Contribution]
    has_all_orders: bool = False
    reference: str | None = None  # anonymous, of a deleted customer's orders; None = not deleted


class Stop(NamedTuple):
    """An event that could not be applied: where, and why."""

    version: int
    position: int
    reason: Reason


@dataclass(slots=True)
class Change:
    """What new events did to one customer."""

    customer_id: str
    tenant: str
    old_version: int
    version: int
    position: int = 0  # of the last event applied; or of the one that hid a parked customer
    updated_at: datetime | None = None  # of the last event applied; None = there was none
    document: Document | None = None  # None = deleted, forgotten, or never created
    reference: str | None = None  # under which the orders stand once the customer is deleted
    deleted_at: datetime | None = None  # None = these events hold no deletion
    before: Listing | None = None  # None = not seen before, or only orders came in
    after: Listing | None = None  # None = deleted, forgotten, or only orders came in
    orders: dict[str, tuple[Contribution, Order]] = field(default_factory=dict)
    stop: Stop | None = None
    skipped: int = 0  # events seen before, or waiting because the customer is parked
    has_gap: bool = False  # an event after `version` is missing: heal, and fold again
    lacks_orders: bool = False  # all of the customer's orders are needed: read, and fold again


def incoming(fact: Fact) -> Incoming:
    """A fact, decoded."""
    event: Event | Reason
    try:
        event = decode(fact.type, fact.schema_version, fact.data)
    except Corrupt:
        is_known = fact.schema_version <= SCHEMA_VERSIONS.get(fact.type, 0)
        event = "undecodable" if is_known else "unknown_type"
    return Incoming(
        fact.position,
        fact.tenant,
        fact.customer_id,
        fact.version,
        fact.time,
        event,
        fact.id,
        fact.is_forgotten,
    )


def anonymous_reference(deletion: EventId | EventKey) -> str:
    """What a deleted customer's orders stand under, from the id of the deletion's event.

    The same after every rebuild, and whoever knows only the customer's id cannot work it out.
    """
    name = deletion if isinstance(deletion, str) else event_id(deletion)
    digest = blake2b(name.encode(), digest_size=REFERENCE_BYTES).hexdigest()
    return REFERENCE_PREFIX + digest


def fold(events: Sequence[Incoming], present: Present) -> Change:
    """One customer's events, in order and at least one, on top of what is shown."""
    first = events[0]
    result = Change(first.customer_id, first.tenant, present.version, present.version)
    result.reference = present.reference
    if present.document is not None:
        result.document = read_document(present.document)
    if present.is_parked:
        result.skipped = len(events)
        _hide_if_gone(result, events)
        return result
    for each in events:
        if each.version <= result.version:
            result.skipped += 1
        elif each.version > result.version + 1:
            result.has_gap = True
            break
        elif not _apply(result, each):
            break
    if result.stop is not None:
        _hide_if_gone(result, events)
    _complete(result, present)
    return result


def _apply(result: Change, each: Incoming) -> bool:
    """Take in the next event. False where that cannot be, with everything as it was before."""
    if isinstance(each.event, str):
        result.stop = Stop(each.version, each.position, each.event)
        return False
    try:
        _take_in(result, each, each.event)
    except (Corrupt, ArithmeticError, LookupError, TypeError, ValueError):
        result.stop = Stop(each.version, each.position, "impossible")
        return False
    result.version = each.version
    result.position = each.position
    result.updated_at = each.time
    return True


def _take_in(result: Change, each: Incoming, event: Event) -> None:
    if result.version == 0 and not isinstance(event, CustomerCreated):
        raise Corrupt("a stream begins with a creation")
    if isinstance(event, OrderRecorded):
        result.orders[event.order.order_id] = contribution(event.order), event.order
    elif isinstance(event, CustomerCreated):
        if result.version != 0:
            raise Corrupt("a second creation")
        if not each.is_forgotten:
            result.document = created(each.customer_id, each.version, each.time, event)
        return
    elif result.reference is not None:
        raise Corrupt("only orders follow a deletion")
    elif isinstance(event, CustomerDeleted):
        result.reference, result.deleted_at = anonymous_reference(each.id), each.time
        _hide(result)
    elif result.document is not None and not each.is_forgotten:
        _remember(result, result.document)
        change(result.document, event)
    if each.is_forgotten:
        _hide(result)


def _remember(result: Change, document: Document) -> None:
    """Keep what the customer is listed by now, before it changes for the first time."""
    if result.before is None and result.old_version != 0:
        result.before = listing(document)


def _hide(result: Change) -> None:
    """Show nothing of the customer any more."""
    if result.document is not None:
        _remember(result, result.document)
        result.document = None


def _hide_if_gone(result: Change, events: Sequence[Incoming]) -> None:
    """Whoever is parked goes on waiting, but is not shown beyond a deletion heard of."""
    if result.document is None:
        return
    for each in events:
        is_gone = each.is_forgotten or isinstance(each.event, CustomerDeleted)
        if is_gone and each.version > result.version:
            _hide(result)
            if result.updated_at is None:
                result.position, result.updated_at = each.position, each.time
            return


def _complete(result: Change, present: Present) -> None:
    """What follows from all of the events together."""
    document = result.document
    if document is not None and result.updated_at is not None:
        document["version"] = result.version
        document["updatedAt"] = timestamp_text(result.updated_at)
        if result.before is not None or result.old_version == 0:
            result.after = listing(document)
        if result.orders:
            held, is_whole = present.orders, present.has_all_orders
            result.lacks_orders = not roll_up(
                document, result.orders, held, present.currency, is_whole=is_whole
            )
