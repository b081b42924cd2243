"""What follows from a command: `decide`.

Invariants: `decide` reads nothing but its arguments. The same command on the state it led to yields
no events, or NotFound where what it speaks of is gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from service.customer.commands import (
    AddAddress,
    AddTags,
    Command,
    CreateCustomer,
    DeleteCustomer,
    RemoveAddress,
    RemoveTags,
    UpdateAddress,
    UpdateCustomer,
)
from service.customer.state import Customer, with_default
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
)
from service.folding import tag_key

TAGS_MAX = 250
ADDRESSES_MAX = 100
METADATA_KEYS_MAX = 50


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
            return _untag(customer, _folded(tags))
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
    tags, metadata = _distinct(command.tags), _as_stored(command.metadata)
    _refuse(
        _over("/tags", len(tags), TAGS_MAX),
        _over("/addresses", len(command.addresses), ADDRESSES_MAX),
        _over("/metadata", len(metadata), METADATA_KEYS_MAX),
    )
    created = CustomerCreated(
        email=command.email,
        first_name=command.first_name,
        last_name=command.last_name,
        phone=command.phone,
        tags=tags,
        metadata=metadata,
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
    given: dict[str, MetadataValue] = {
        key: value for key, value in metadata.items() if value is not None
    }
    if len(given) < 2:
        return given
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
    added = tuple(tag for tag in _distinct(tags) if tag_key(tag) not in held)
    if not added:
        return ()
    if not is_replaced:
        _refuse(_over("/tags", len(customer.tags) + len(added), TAGS_MAX))
    return (CustomerTagged(tags=added),)


def _untag(customer: Customer, folded: set[str]) -> tuple[Event, ...]:
    removed = tuple(tag for tag in customer.tags if tag_key(tag) in folded)
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


def _with_one_default(addresses: tuple[Address, ...]) -> tuple[Address, ...]:
    """The last that asks for the mark has it, else the first."""
    if not addresses:
        return ()
    asking = [address.id for address in addresses if address.is_default]
    return with_default(addresses, asking[-1] if asking else addresses[0].id)


def _folded(tags: Iterable[str]) -> set[str]:
    return {tag_key(tag) for tag in tags}


def _distinct(tags: Iterable[str]) -> tuple[str, ...]:
    first_spelling: dict[str, str] = {}
    for tag in tags:
        first_spelling.setdefault(tag_key(tag), tag)
    return tuple(first_spelling.values())


def _over(pointer: str, count: int, maximum: int) -> Fault | None:
    if count <= maximum:
        return None
    return Fault(pointer, "too_many", f"At most {maximum} are allowed.")


def _refuse(*faults: Fault | None) -> None:
    present = [fault for fault in faults if fault is not None]
    if present:
        raise Rejected(present)
