"""One event of every kind, as it may really happen: what the published schemas show as examples.

Invariant: every type in `EVENT_TYPES` has one; the people in them do not exist.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from service.documents import CustomerDocument
from service.events import (
    Address,
    AddressAdded,
    AddressRemoved,
    AddressUpdated,
    CustomerChanges,
    CustomerCreated,
    CustomerDeactivated,
    CustomerDeleted,
    CustomerReactivated,
    CustomerTagged,
    CustomerUntagged,
    CustomerUpdated,
    Event,
    Order,
    OrderRecorded,
    Version,
)
from service.identifiers import AddressId, CustomerId

CUSTOMER_ID = CustomerId("cust_01j8z3k4m5n6p7q8r9s0t1v2w3")
EVENT_ID = "evt_01j8z3k4m5n6p7q8r9s0t1v2w4"
CREATED_AT = datetime(2024, 3, 10, 8, 0, tzinfo=UTC)
UPDATED_AT = datetime(2024, 6, 15, 14, 22, tzinfo=UTC)
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

_HOME = Address(
    id=AddressId("addr_01j8z3k4m5n6p7q8r9s0t1v2w5"),
    label="Home",
    line1="456 Oak Ave",
    city="Portland",
    state="OR",
    postal_code="97201",
    country="US",
    is_default=True,
)
_OFFICE = Address(
    id=AddressId("addr_01j8z3k4m5n6p7q8r9s0t1v2w6"),
    label="Office",
    line1="789 Business Blvd",
    city="San Francisco",
    state="CA",
    postal_code="94102",
    country="US",
    is_default=False,
)
_ORDER = Order(
    order_id="order_1001",
    order_version=3,
    status="paid",
    currency="USD",
    total=45_600,
    captured=45_600,
    refunded=None,
    placed_at=datetime(2024, 6, 15, 14, 20, tzinfo=UTC),
)
_EVENTS: tuple[Event, ...] = (
    CustomerCreated(
        email="jane@example.com",
        first_name="Jane",
        last_name="Doe",
        phone="+1-555-0123",
        tags=("referral",),
        metadata={"source": "partner-campaign"},
        addresses=(_HOME,),
    ),
    CustomerUpdated(changes=CustomerChanges(first_name="Janet", phone=None)),
    CustomerTagged(tags=("vip", "early-adopter")),
    CustomerUntagged(tags=("referral",)),
    AddressAdded(address=_OFFICE),
    AddressUpdated(address=_OFFICE.model_copy(update={"is_default": True})),
    AddressRemoved(address_id=_OFFICE.id, new_default_address_id=_HOME.id),
    CustomerDeactivated(),
    CustomerReactivated(),
    CustomerDeleted(),
    OrderRecorded(order=_ORDER),
)

EVENT_EXAMPLES: Mapping[type[Event], Event] = {type(event): event for event in _EVENTS}

CUSTOMER_EXAMPLE = CustomerDocument(
    id=CUSTOMER_ID,
    email="jane@example.com",
    first_name="Jane",
    last_name="Doe",
    phone="+1-555-0123",
    metadata={"segment": "vip", "source": "referral"},
    addresses=(_HOME,),
    order_count=12,
    total_spent=45_600,
    spent_by_currency={"USD": 45_600},
    last_order_at=_ORDER.placed_at,
    tags=("vip", "early-adopter"),
    active=True,
    created_at=CREATED_AT,
    updated_at=UPDATED_AT,
    version=Version(17),
)
