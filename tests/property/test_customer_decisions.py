"""Whatever is asked of a customer, in any order: the state that follows is sound.

Invariant: each example is a whole life. Every command is decided on the fold of what was decided
before, so a state that no caller could bring about is never looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

import hypothesis.strategies as st
import pytest
from hypothesis import example, given

from service.customer import (
    ADDRESSES_MAX,
    METADATA_KEYS_MAX,
    TAGS_MAX,
    AddAddress,
    AddTags,
    Command,
    CreateCustomer,
    Customer,
    DeleteCustomer,
    RemoveAddress,
    UpdateAddress,
    UpdateCustomer,
    decide,
    evolve,
    fold,
)
from service.errors import NotFound, Rejected
from service.events import (
    Address,
    CustomerChanges,
    CustomerCreated,
    CustomerDeleted,
    CustomerUpdated,
    Event,
    MetadataValue,
    Order,
    OrderRecorded,
    RecordedEvent,
    decode,
    encode,
)
from tests.property.commands import AFTERLIFE, CREATIONS, FEW_METADATA, LIFE, Happening
from tests.support.histories import an_address, recorded


@dataclass
class Life:
    """One customer's stream, and the state that its events led to one by one."""

    events: list[RecordedEvent] = field(default_factory=list)
    customer: Customer | None = None

    def go_on(self, happening: Happening) -> tuple[Event, ...]:
        """What came of it; nothing where it was refused."""
        if isinstance(happening, Order):
            made: tuple[Event, ...] = (OrderRecorded(order=happening),) if self.customer else ()
        else:
            made = asked(self.customer, happening)
        for event in recorded(made, after=self.customer):
            self.events.append(event)
            self.customer = evolve(self.customer, event)
        return made


WHAT_IS_GONE: Mapping[type[Command], str] = {
    DeleteCustomer: "customer_deleted",
    RemoveAddress: "address_not_found",
}
"""Commands that take away what they name, and what is said when they come again."""


def asked(customer: Customer | None, command: Command) -> tuple[Event, ...]:
    try:
        return decide(customer, command)
    except (NotFound, Rejected):
        return ()


def lived(*happenings: Happening) -> Life:
    life = Life()
    for happening in happenings:
        life.go_on(happening)
    return life


def assert_sound(customer: Customer) -> None:
    addresses, tags = customer.addresses, customer.tags
    assert sum(address.is_default for address in addresses) == (1 if addresses else 0)
    assert len({address.id for address in addresses}) == len(addresses) <= ADDRESSES_MAX
    assert len({tag.casefold() for tag in tags}) == len(tags) <= TAGS_MAX
    assert len(customer.metadata) <= METADATA_KEYS_MAX
    assert None not in customer.metadata.values()


def as_it_is(customer: Customer) -> UpdateCustomer:
    """Everything that was read, sent back."""
    return UpdateCustomer(
        changes=CustomerChanges(
            email=customer.email,
            first_name=customer.first_name,
            last_name=customer.last_name,
            phone=customer.phone,
        ),
        metadata=customer.metadata,
        tags=customer.tags,
        is_active=customer.is_active,
        addresses=customer.addresses,
    )


@given(CREATIONS, LIFE)
def test_every_state_is_sound(creation: CreateCustomer, happenings: list[Happening]) -> None:
    life = lived(creation)
    for happening in happenings:
        life.go_on(happening)
        if life.customer is not None:
            assert_sound(life.customer)
            assert life.customer.version == len(life.events)


@given(CREATIONS, LIFE)
@example(CreateCustomer(id="cust_1", email="j@example.com"), [AddTags(("ſ", "S"))])
def test_the_same_command_again_says_nothing(
    creation: CreateCustomer, happenings: list[Happening]
) -> None:
    life = Life()
    for happening in [creation, *happenings]:
        followed = life.go_on(happening)
        if isinstance(happening, Order) or not followed:
            continue
        gone = WHAT_IS_GONE.get(type(happening))
        if gone is None:
            assert decide(life.customer, happening) == ()
        else:
            with pytest.raises(NotFound, match=gone):
                decide(life.customer, happening)


@given(FEW_METADATA, st.randoms(use_true_random=False))
def test_the_order_of_metadata_keys_is_not_the_callers(
    metadata: dict[str, MetadataValue], choose: Random
) -> None:
    """It is the one in which they come back from the log, so every answer has the same."""
    shuffled = dict(choose.sample(list(metadata.items()), len(metadata)))
    (created,) = decide(None, CreateCustomer("cust_1", "jane@example.com", metadata=shuffled))
    customer = lived(CreateCustomer("cust_1", "jane@example.com")).customer
    assert isinstance(created, CustomerCreated)
    kept = list(created.metadata)
    assert kept == sorted(metadata, key=lambda key: (len(key.encode()), key.encode()))
    for event in decide(customer, UpdateCustomer(metadata=shuffled)):
        assert isinstance(event, CustomerUpdated)
        assert list(event.changes.metadata) == kept


@given(CREATIONS, LIFE)
def test_a_customer_sent_back_as_it_was_read_changes_nothing(
    creation: CreateCustomer, happenings: list[Happening]
) -> None:
    customer = lived(creation, *happenings).customer
    if customer is None:  # a limit was passed, and nothing after it could bring a customer about
        return
    whole = as_it_is(customer)
    assert decide(customer, whole) == ()
    other = (*customer.addresses[1:], an_address("addr_other"))
    with pytest.raises(Rejected, match="use_address_endpoints"):
        decide(customer, UpdateCustomer(changes=whole.changes, addresses=other))


@given(CREATIONS, LIFE, AFTERLIFE)
def test_the_fold_of_what_was_stored_is_the_state(
    creation: CreateCustomer, before: list[Happening], after: list[Happening]
) -> None:
    life = lived(creation, *before, DeleteCustomer(), *after)
    kept = [
        decode(each.event.type, each.event.schema_version, encode(each.event))
        for each in life.events
    ]
    for stored, each in zip(kept, life.events, strict=True):
        assert stored == each.event
        if isinstance(each.event, CustomerUpdated):
            assert isinstance(stored, CustomerUpdated)
            assert stored.changes.model_fields_set == each.event.changes.model_fields_set
            assert each.event.changes.model_fields_set, "an update names at least one field"
    halfway = len(kept) // 2
    events = recorded(kept)
    assert fold(events) == life.customer
    assert fold(events[halfway:], fold(events[:halfway])) == life.customer


@given(CREATIONS, LIFE, AFTERLIFE)
def test_only_orders_follow_a_deletion(
    creation: CreateCustomer, before: list[Happening], after: list[Happening]
) -> None:
    life = lived(creation, *before)
    if life.customer is None:
        return
    assert life.go_on(DeleteCustomer()) == (CustomerDeleted(),)
    for happening in after:
        for event in life.go_on(happening):
            assert isinstance(event, OrderRecorded)
        if not isinstance(happening, Order | CreateCustomer):
            with pytest.raises(NotFound, match="customer_deleted"):
                decide(life.customer, happening)
    assert life.customer is not None
    assert life.customer.is_deleted


@given(CREATIONS, LIFE)
def test_the_default_moves_only_when_asked_or_removed(
    creation: CreateCustomer, happenings: list[Happening]
) -> None:
    life = lived(creation)
    for happening in happenings:
        before = life.customer
        made = life.go_on(happening)
        if before is None or life.customer is None or not made:
            continue
        old, new = default_of(before.addresses), default_of(life.customer.addresses)
        match happening:
            case AddAddress(address):
                assert new == (address.id if address.is_default or old is None else old)
            case UpdateAddress(address_id, changes):
                assert new == (address_id if changes.get("is_default") else old)
            case RemoveAddress(address_id) if address_id == old:
                left = [each.id for each in before.addresses if each.id != old]
                assert new == next(iter(left), None)
            case _:
                assert new == old


def default_of(addresses: tuple[Address, ...]) -> str | None:
    return next((address.id for address in addresses if address.is_default), None)
