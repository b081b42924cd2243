"""Histories for tests: events as recorded, addresses and orders with what matters named."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from uuid import UUID

from service.customer import Customer
from service.events import (
    Actor,
    Address,
    Event,
    Meta,
    Order,
    OrderStatus,
    Position,
    RecordedEvent,
    Version,
)
from service.identifiers import AddressId, CustomerId

MOMENT = datetime(2024, 3, 10, 8, 0, tzinfo=UTC)
META = Meta(actor=Actor(type="token", id="tok_test", name="tests"), request_id="request-1")


def recorded(
    events: Iterable[Event],
    *,
    after: Customer | None = None,
    customer_id: str = "cust_1",
    tenant: str = "default",
) -> list[RecordedEvent]:
    """The events as one stream holds them after the given state, a second apart."""
    first = (after.version if after else 0) + 1
    return [
        RecordedEvent(
            position=Position(version),
            key=UUID(int=version).bytes,
            tenant=tenant,
            customer_id=CustomerId(customer_id),
            version=Version(version),
            time=MOMENT + timedelta(seconds=version),
            event=event,
            meta=META,
        )
        for version, event in enumerate(events, start=first)
    ]


def an_address(address_id: str, *, is_default: bool = False, city: str = "Portland") -> Address:
    return Address(
        id=AddressId(address_id),
        line1="456 Oak Ave",
        city=city,
        country="US",
        is_default=is_default,
    )


def an_order(
    order_id: str,
    order_version: int,
    *,
    total: int,
    currency: str = "USD",
    status: OrderStatus = "paid",
    captured: int | None = None,
    refunded: int | None = None,
    test: bool = False,
    placed_at: datetime = MOMENT,
) -> Order:
    return Order(
        order_id=order_id,
        order_version=order_version,
        status=status,
        currency=currency,
        total=total,
        captured=captured,
        refunded=refunded,
        placed_at=placed_at,
        test=test,
    )
