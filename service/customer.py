"""What a customer is, what can be asked of it, and what follows: `decide` and `evolve`.

Invariants: `decide` reads nothing but its arguments and is idempotent: the same command on the
state it led to yields no events. A customer with addresses has exactly one default. Tags are a set
by case-insensitive comparison, in the spelling that came first. Ids arrive in the command.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeAlias

from service import order as orders
from service.documents import CustomerDocument
from service.errors import Fault, NotFound, Rejected
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
    MetadataValue,
    OrderRecorded,
    RecordedEvent,
    Version,
)
from service.identifiers import AddressId, CustomerId

TAGS_MAX = 250
ADDRESSES_MAX = 100
METADATA_KEYS_MAX = 50

NO_CHANGES = CustomerChanges()


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one order adds: minor units of its currency, and one to the count if countable."""

    currency: str
    amount: int
    is_countable: bool
    placed_at: datetime


@dataclass(frozen=True, slots=True)
class Customer:
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
    orders: Mapping[str, Contribution] = field(default_factory=dict)  # by order id

    def document(self, currency: str) -> CustomerDocument:
        """The customer as shown; `currency` is the tenant's, in which `totalSpent` is given."""
        spent: dict[str, int] = {}
        countable = [each for each in self.orders.values() if each.is_countable]
        for each in countable:
            spent[each.currency] = spent.get(each.currency, 0) + each.amount
        return CustomerDocument.model_construct(
            id=self.id,
            email=self.email,
            first_name=self.first_name,
            last_name=self.last_name,
            phone=self.phone,
            metadata=dict(self.metadata),
            addresses=self.addresses,
            order_count=len(countable),
            total_spent=spent.get(currency, 0),
            spent_by_currency=dict(sorted(spent.items())),
            last_order_at=max((each.placed_at for each in countable), default=None),
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


@dataclass(frozen=True, slots=True)
class CreateCustomer:
    """A new customer under an id that was made for it."""

    id: CustomerId
    email: str
    first_name: str | None = None
    last_name: str | None = None
    phone: str | None = None
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, MetadataValue] = field(default_factory=dict)
    addresses: tuple[Address, ...] = ()
    is_active: bool = True


@dataclass(frozen=True, slots=True)
class UpdateCustomer:
    """A merge patch: only what is in `changes.model_fields_set` changes; `metadata` merges by key,
    a null removing it. `tags` replaces all; `addresses` must be what they are already."""

    changes: CustomerChanges = NO_CHANGES
    metadata: Mapping[str, MetadataValue] | None = None
    clear_metadata: bool = False
    tags: tuple[str, ...] | None = None
    is_active: bool | None = None
    addresses: tuple[Address, ...] | None = None


@dataclass(frozen=True, slots=True)
class AddTags:
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RemoveTags:
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AddAddress:
    """`address.is_default` asks for the mark; the first address gets it in any case."""

    address: Address


@dataclass(frozen=True, slots=True)
class UpdateAddress:
    """`changes` holds new values by the name of the field in `Address`."""

    address_id: AddressId
    changes: Mapping[str, str | bool | None]


@dataclass(frozen=True, slots=True)
class RemoveAddress:
    address_id: AddressId


@dataclass(frozen=True, slots=True)
class DeleteCustomer:
    """For good."""


Command: TypeAlias = (
    CreateCustomer
    | UpdateCustomer
    | AddTags
    | RemoveTags
    | AddAddress
    | UpdateAddress
    | RemoveAddress
    | DeleteCustomer
)


def decide(customer: Customer | None, command: Command) -> tuple[Event, ...]:
    """The events that follow from a command, none where it changes nothing.

    Raises NotFound (`customer_not_found`, `customer_deleted`, `address_not_found`) and Rejected.
    """
    if isinstance(command, CreateCustomer):
        return _create(customer, command)
    if customer is None:
        raise NotFound("customer_not_found")
    if customer.is_deleted:
        raise NotFound("customer_deleted")
    match command:
        case UpdateCustomer():
            return _update(customer, command)
        case AddTags(tags):
            return _tag(customer, tags)
        case RemoveTags(tags):
            return _untag(customer, {tag.casefold() for tag in tags})
        case AddAddress(address):
            return _add_address(customer, address)
        case UpdateAddress(address_id, changes):
            return _update_address(customer.address(address_id), changes)
        case RemoveAddress(address_id):
            return _remove_address(customer, customer.address(address_id))
        case DeleteCustomer():
            return (CustomerDeleted(),)


def _create(customer: Customer | None, command: CreateCustomer) -> tuple[Event, ...]:
    if customer is not None:
        return ()
    tags = _distinct(command.tags)
    _refuse(
        _over("/tags", len(tags), TAGS_MAX),
        _over("/addresses", len(command.addresses), ADDRESSES_MAX),
        _over("/metadata", len(command.metadata), METADATA_KEYS_MAX),
    )
    created = CustomerCreated(
        email=command.email,
        first_name=command.first_name,
        last_name=command.last_name,
        phone=command.phone,
        tags=tags,
        metadata=_as_stored(command.metadata),
        addresses=_with_one_default(command.addresses),
        active=command.is_active,
    )
    return (created,)


def _update(customer: Customer, command: UpdateCustomer) -> tuple[Event, ...]:
    changes = _changes(customer, command)
    tags = customer.tags if command.tags is None else _distinct(command.tags)
    _refuse(
        _over("/tags", len(tags), TAGS_MAX),
        _over("/metadata", len(changes.metadata), METADATA_KEYS_MAX),
        _addresses_changed(customer, command.addresses),
    )
    events: list[Event] = []
    if changes.model_fields_set:
        events.append(CustomerUpdated(changes=changes))
    if command.tags is not None:
        events += _tag(customer, tags, is_replaced=True)
        events += _untag(customer, _folded(customer.tags) - _folded(tags))
    if command.is_active is not None and command.is_active != customer.is_active:
        events.append(CustomerReactivated() if command.is_active else CustomerDeactivated())
    return tuple(events)


def _changes(customer: Customer, command: UpdateCustomer) -> CustomerChanges:
    changed: dict[str, object] = {
        name: getattr(command.changes, name)
        for name in command.changes.model_fields_set
        if getattr(command.changes, name) != getattr(customer, name)
    }
    if command.metadata is not None or command.clear_metadata:
        merged = {} if command.clear_metadata else dict(customer.metadata)
        merged.update(command.metadata or {})
        merged = _as_stored(merged)
        if not _same_json(merged, customer.metadata):
            changed["metadata"] = merged
    return CustomerChanges.model_validate(changed)


def _as_stored(metadata: Mapping[str, MetadataValue]) -> dict[str, MetadataValue]:
    """Without nulls, in the order in which PostgreSQL keeps the keys of jsonb: by bytes, the
    shortest first. So a customer reads the same before and after its events were stored."""
    given = {key: value for key, value in metadata.items() if value is not None}
    return dict(sorted(given.items(), key=lambda item: (len(item[0].encode()), item[0].encode())))


def _same_json(one: Mapping[str, MetadataValue], other: Mapping[str, MetadataValue]) -> bool:
    """Equal as JSON: true is not 1."""
    return one == other and all(
        isinstance(one[key], bool) == isinstance(other[key], bool) for key in one
    )


def _addresses_changed(customer: Customer, given: tuple[Address, ...] | None) -> Fault | None:
    if given is None or given == customer.addresses:
        return None
    return Fault(
        "/addresses",
        "use_address_endpoints",
        "Addresses are changed through the customer's address endpoints; leave them as they are.",
    )


def _tag(
    customer: Customer, tags: tuple[str, ...], *, is_replaced: bool = False
) -> tuple[Event, ...]:
    held = _folded(customer.tags)
    added = tuple(tag for tag in _distinct(tags) if tag.casefold() not in held)
    if not added:
        return ()
    if not is_replaced:
        _refuse(_over("/tags", len(customer.tags) + len(added), TAGS_MAX))
    return (CustomerTagged(tags=added),)


def _untag(customer: Customer, folded: set[str]) -> tuple[Event, ...]:
    removed = tuple(tag for tag in customer.tags if tag.casefold() in folded)
    return (CustomerUntagged(tags=removed),) if removed else ()


def _add_address(customer: Customer, address: Address) -> tuple[Event, ...]:
    if any(held.id == address.id for held in customer.addresses):
        return ()
    _refuse(_over("/addresses", len(customer.addresses) + 1, ADDRESSES_MAX))
    is_default = address.is_default or not customer.addresses
    return (AddressAdded(address=address.model_copy(update={"is_default": is_default})),)


def _update_address(held: Address, changes: Mapping[str, str | bool | None]) -> tuple[Event, ...]:
    if held.is_default and changes.get("is_default") is False:
        _refuse(
            Fault(
                "/isDefault",
                "default_required",
                "A customer with addresses has a default; make another address the default.",
            )
        )
    address = held.model_copy(update=dict(changes))
    return () if address == held else (AddressUpdated(address=address),)


def _remove_address(customer: Customer, removed: Address) -> tuple[Event, ...]:
    left = [address for address in customer.addresses if address.id != removed.id]
    promoted = left[0].id if removed.is_default and left else None
    return (AddressRemoved(address_id=removed.id, new_default_address_id=promoted),)


def evolve(customer: Customer | None, recorded: RecordedEvent) -> Customer:
    """The state after one more event of the stream."""
    event = recorded.event
    if isinstance(event, CustomerCreated):
        return _created(recorded, event)
    assert customer is not None, "a stream begins with CustomerCreated"
    assert recorded.version == customer.version + 1, "a stream has no gaps"
    after = replace(customer, version=recorded.version, updated_at=recorded.time)
    match event:
        case CustomerUpdated(changes=changes):
            changed = {name: getattr(changes, name) for name in changes.model_fields_set}
            return replace(after, **changed)
        case CustomerTagged(tags=tags):
            return replace(after, tags=after.tags + tags)
        case CustomerUntagged(tags=tags):
            return replace(after, tags=tuple(tag for tag in after.tags if tag not in tags))
        case AddressAdded(address=address):
            return replace(after, addresses=_marked((*after.addresses, address), address))
        case AddressUpdated(address=address):
            held = tuple(address if each.id == address.id else each for each in after.addresses)
            return replace(after, addresses=_marked(held, address))
        case AddressRemoved(address_id=removed, new_default_address_id=promoted):
            left = tuple(each for each in after.addresses if each.id != removed)
            return replace(after, addresses=_promoted(left, promoted))
        case CustomerDeactivated():
            return replace(after, is_active=False)
        case CustomerReactivated():
            return replace(after, is_active=True)
        case CustomerDeleted():
            return replace(after, is_deleted=True)
        case OrderRecorded(order=order):
            contribution = Contribution(
                currency=order.currency,
                amount=orders.contribution(order),
                is_countable=orders.is_countable(order),
                placed_at=order.placed_at,
            )
            return replace(after, orders={**after.orders, order.order_id: contribution})


def fold(events: Iterable[RecordedEvent], customer: Customer | None = None) -> Customer | None:
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
    return _promoted(addresses, latest.id) if latest.is_default else addresses


def _promoted(addresses: tuple[Address, ...], promoted: AddressId | None) -> tuple[Address, ...]:
    if promoted is None:
        return addresses
    return tuple(each.model_copy(update={"is_default": each.id == promoted}) for each in addresses)


def _with_one_default(addresses: tuple[Address, ...]) -> tuple[Address, ...]:
    """The last that asks for the mark has it, else the first."""
    asking = [address.id for address in addresses if address.is_default]
    return _promoted(addresses, asking[-1] if asking else addresses[0].id if addresses else None)


def _folded(tags: Iterable[str]) -> set[str]:
    return {tag.casefold() for tag in tags}


def _distinct(tags: Iterable[str]) -> tuple[str, ...]:
    first_spelling: dict[str, str] = {}
    for tag in tags:
        first_spelling.setdefault(tag.casefold(), tag)
    return tuple(first_spelling.values())


def _over(pointer: str, count: int, maximum: int) -> Fault | None:
    if count <= maximum:
        return None
    return Fault(pointer, "too_many", f"At most {maximum} are allowed.")


def _refuse(*faults: Fault | None) -> None:
    present = [fault for fault in faults if fault is not None]
    if present:
        raise Rejected(present)
