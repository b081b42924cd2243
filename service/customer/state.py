"""What a customer is: the fold of one stream, event by event.

Invariants: a customer with addresses has exactly one default; tags differ in more than case; what
is shown follows from the events alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import NamedTuple, TypeAlias

from service import order as orders
from service.customer.contributions import NO_ORDERS, Contribution, Contributions
from service.documents import CustomerDocument
from service.errors import NotFound
from service.events import (
    Address,
    AddressAdded,
    AddressRemoved,
    AddressUpdated,
    CustomerCreated,
    CustomerDeactivated,
    CustomerDeleted,
    CustomerReactivated,
    CustomerTagged,
    CustomerUntagged,
    CustomerUpdated,
    MetadataValue,
    Order,
    OrderRecorded,
    RecordedEvent,
    Version,
)
from service.identifiers import AddressId, CustomerId
from service.snapshots import Snapshot, State

_Later: TypeAlias = (
    CustomerUpdated
    | CustomerTagged
    | CustomerUntagged
    | AddressAdded
    | AddressUpdated
    | AddressRemoved
    | CustomerDeactivated
    | CustomerReactivated
    | CustomerDeleted
    | OrderRecorded
)
"""What may follow a creation."""


class Customer(NamedTuple):
    """The fold of one stream up to `version`."""

    id: CustomerId
    version: Version
    email: str
    first_name: str | None
    last_name: str | None
    phone: str | None
    tags: tuple[str, ...]
    metadata: Mapping[str, MetadataValue]
    addresses: tuple[Address, ...]  # in the order in which they were added
    is_active: bool
    created_at: datetime
    updated_at: datetime
    is_deleted: bool = False
    orders: Contributions = NO_ORDERS  # by order id

    def document(self, currency: str) -> CustomerDocument:
        """The customer as shown; `currency` is the tenant's, in which `totalSpent` is given."""
        spent = self.orders.spent_by_currency
        return CustomerDocument.of(
            id=self.id,
            email=self.email,
            first_name=self.first_name,
            last_name=self.last_name,
            phone=self.phone,
            metadata=dict(self.metadata),
            addresses=self.addresses,
            order_count=self.orders.order_count,
            total_spent=spent.get(currency, 0),
            spent_by_currency=spent,
            last_order_at=self.orders.last_order_at,
            tags=self.tags,
            active=self.is_active,
            created_at=self.created_at,
            updated_at=self.updated_at,
            version=self.version,
        )

    def address(self, address_id: AddressId) -> Address:
        """Raises NotFound `address_not_found`."""
        for address in self.addresses:
            if address.id == address_id:
                return address
        raise NotFound("address_not_found")


def unread(customer_id: CustomerId, version: Version) -> Customer:
    """One whose events cannot be read: where the stream stands, and nothing else. Never shown."""
    nobody = datetime.fromtimestamp(0, UTC)
    return Customer(customer_id, version, "", None, None, None, (), {}, (), True, nobody, nobody)


def evolve(customer: Customer | None, recorded: RecordedEvent | Snapshot) -> Customer:
    """The state after one more event of the stream; or as a snapshot says, whatever was before."""
    if isinstance(recorded, Snapshot):
        return _restored(recorded)
    event = recorded.event
    if isinstance(event, CustomerCreated):
        return _created(recorded, event)
    assert customer is not None, "a stream begins with CustomerCreated"
    assert recorded.version == customer.version + 1, "a stream has no gaps"
    return _after(customer._replace(version=recorded.version, updated_at=recorded.time), event)


def _after(after: Customer, event: _Later) -> Customer:
    match event:
        case CustomerUpdated(changes=changes):
            changed = {name: getattr(changes, name) for name in changes.model_fields_set}
            return after._replace(**changed)
        case CustomerTagged(tags=tags):
            return after._replace(tags=after.tags + tags)
        case CustomerUntagged(tags=tags):
            return after._replace(tags=tuple(tag for tag in after.tags if tag not in tags))
        case AddressAdded(address=address):
            return after._replace(addresses=_marked((*after.addresses, address), address))
        case AddressUpdated(address=address):
            held = tuple(address if each.id == address.id else each for each in after.addresses)
            return after._replace(addresses=_marked(held, address))
        case AddressRemoved(address_id=removed, new_default_address_id=promoted):
            left = tuple(each for each in after.addresses if each.id != removed)
            return after._replace(addresses=with_default(left, promoted))
        case CustomerDeactivated():
            return after._replace(is_active=False)
        case CustomerReactivated():
            return after._replace(is_active=True)
        case CustomerDeleted():
            return after._replace(is_deleted=True)
        case OrderRecorded(order=order):
            return after._replace(orders=_with_order(after.orders, order))


def _with_order(held: Contributions, order: Order) -> Contributions:
    contribution = Contribution(
        currency=order.currency,
        amount=orders.contribution(order),
        is_countable=orders.is_countable(order),
        placed_at=order.placed_at,
    )
    return held.with_order(order.order_id, contribution)


def snapshot_state(customer: Customer, held: Iterable[Order]) -> State:
    """What a snapshot keeps of a customer; `held` are its orders, each as it was recorded last."""
    return State(
        email=customer.email,
        first_name=customer.first_name,
        last_name=customer.last_name,
        phone=customer.phone,
        tags=customer.tags,
        metadata=dict(customer.metadata),
        addresses=customer.addresses,
        active=customer.is_active,
        created_at=customer.created_at,
        orders=tuple(held),
    )


def _restored(snapshot: Snapshot) -> Customer:
    state, held = snapshot.state, NO_ORDERS
    for order in state.orders:
        held = _with_order(held, order)
    return Customer(
        id=snapshot.customer_id,
        version=snapshot.version,
        email=state.email,
        first_name=state.first_name,
        last_name=state.last_name,
        phone=state.phone,
        tags=state.tags,
        metadata=state.metadata,
        addresses=state.addresses,
        is_active=state.active,
        created_at=state.created_at,
        updated_at=snapshot.time,
        orders=held,
    )


def fold(
    events: Iterable[RecordedEvent | Snapshot], customer: Customer | None = None
) -> Customer | None:
    for event in events:
        customer = evolve(customer, event)
    return customer


def _created(recorded: RecordedEvent, event: CustomerCreated) -> Customer:
    return Customer(
        id=recorded.customer_id,
        version=recorded.version,
        email=event.email,
        first_name=event.first_name,
        last_name=event.last_name,
        phone=event.phone,
        tags=event.tags,
        metadata=event.metadata,
        addresses=event.addresses,
        is_active=event.active,
        created_at=recorded.time,
        updated_at=recorded.time,
    )


def _marked(addresses: tuple[Address, ...], latest: Address) -> tuple[Address, ...]:
    """A default address takes the mark from the one before."""
    return with_default(addresses, latest.id) if latest.is_default else addresses


def with_default(addresses: tuple[Address, ...], marked: AddressId | None) -> tuple[Address, ...]:
    """The same addresses with this one as the default; None = as they are."""
    if marked is None:
        return addresses
    return tuple(each.model_copy(update={"is_default": each.id == marked}) for each in addresses)
