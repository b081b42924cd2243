"""What follows from a command: given events, when a command, then events or a rejection."""

from __future__ import annotations

import pytest

from service.customer import (
    ADDRESSES_MAX,
    TAGS_MAX,
    AddAddress,
    AddTags,
    Command,
    CreateCustomer,
    Customer,
    DeleteCustomer,
    RemoveAddress,
    RemoveTags,
    UpdateAddress,
    UpdateCustomer,
    decide,
    evolve,
    fold,
)
from service.errors import NotFound, Rejected
from service.events import (
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
    OrderRecorded,
)
from service.identifiers import AddressId, CustomerId
from tests.support.histories import MOMENT, an_address, an_order, recorded

JANE = CustomerCreated(email="jane@example.com", first_name="Jane", tags=("VIP",))


def given(*events: Event) -> Customer | None:
    return fold(recorded(events))


def faults(customer: Customer | None, command: Command) -> set[tuple[str, str]]:
    with pytest.raises(Rejected) as rejection:
        decide(customer, command)
    return {(fault.pointer, fault.code) for fault in rejection.value.faults}


def create(**fields: object) -> CreateCustomer:
    return CreateCustomer(id=CustomerId("cust_1"), email="jane@example.com", **fields)


class TestCreating:
    def test_states_everything_that_was_given(self) -> None:
        command = create(first_name="Jane", tags=("vip",), metadata={"source": "x"})

        assert decide(None, command) == (
            CustomerCreated(
                email="jane@example.com",
                first_name="Jane",
                tags=("vip",),
                metadata={"source": "x"},
            ),
        )

    def test_twice_says_nothing_the_second_time(self) -> None:
        assert decide(given(JANE), create()) == ()

    def test_keeps_the_first_spelling_of_a_tag(self) -> None:
        (created,) = decide(None, create(tags=("VIP", "vip", "Vip")))

        assert isinstance(created, CustomerCreated)
        assert created.tags == ("VIP",)

    @pytest.mark.parametrize(
        ("asking", "expected"),
        [((), ()), ((False, False), (True, False)), ((True, True, False), (False, True, False))],
    )
    def test_marks_exactly_one_address_as_default(
        self, asking: tuple[bool, ...], expected: tuple[bool, ...]
    ) -> None:
        addresses = tuple(an_address(f"addr_{n}", is_default=wish) for n, wish in enumerate(asking))

        (created,) = decide(None, create(addresses=addresses))

        assert isinstance(created, CustomerCreated)
        assert tuple(each.is_default for each in created.addresses) == expected

    def test_names_every_limit_that_is_passed_at_once(self) -> None:
        command = create(
            tags=tuple(str(n) for n in range(TAGS_MAX + 1)),
            metadata={str(n): n for n in range(51)},
            addresses=tuple(an_address(f"addr_{n}") for n in range(ADDRESSES_MAX + 1)),
        )

        assert faults(None, command) == {
            ("/tags", "too_many"),
            ("/metadata", "too_many"),
            ("/addresses", "too_many"),
        }


class TestUpdating:
    def test_names_only_what_changes(self) -> None:
        command = UpdateCustomer(changes=CustomerChanges(first_name="Jane", last_name="Doe"))

        assert decide(given(JANE), command) == (
            CustomerUpdated(changes=CustomerChanges(last_name="Doe")),
        )

    def test_null_clears_a_field(self) -> None:
        customer = given(JANE, CustomerUpdated(changes=CustomerChanges(first_name=None)))

        assert customer is not None
        assert customer.first_name is None
        assert decide(customer, UpdateCustomer(changes=CustomerChanges(first_name=None))) == ()

    def test_merges_metadata_by_key_and_drops_nulls(self) -> None:
        customer = given(CustomerCreated(email="j@example.com", metadata={"a": 1, "b": 2}))

        (updated,) = decide(customer, UpdateCustomer(metadata={"a": None, "c": True}))

        assert updated == CustomerUpdated(changes=CustomerChanges(metadata={"b": 2, "c": True}))

    def test_metadata_true_is_not_one(self) -> None:
        customer = given(CustomerCreated(email="j@example.com", metadata={"a": 1}))

        (updated,) = decide(customer, UpdateCustomer(metadata={"a": True}))

        assert isinstance(updated, CustomerUpdated)
        assert updated.changes.metadata == {"a": True}

    def test_null_metadata_clears_all_of_it(self) -> None:
        customer = given(CustomerCreated(email="j@example.com", metadata={"a": 1}))

        assert decide(customer, UpdateCustomer(clear_metadata=True)) == (
            CustomerUpdated(changes=CustomerChanges(metadata={})),
        )

    def test_several_kinds_of_change_come_in_the_promised_order(self) -> None:
        command = UpdateCustomer(
            changes=CustomerChanges(phone="1234"), tags=("referral",), is_active=False
        )

        assert [type(event) for event in decide(given(JANE), command)] == [
            CustomerUpdated,
            CustomerTagged,
            CustomerUntagged,
            CustomerDeactivated,
        ]

    def test_another_spelling_of_the_same_tags_changes_nothing(self) -> None:
        assert decide(given(JANE), UpdateCustomer(tags=("vip",))) == ()

    def test_replaces_all_tags_up_to_the_limit(self) -> None:
        held = tuple(f"old{n}" for n in range(TAGS_MAX))
        customer = given(CustomerCreated(email="j@example.com", tags=held))
        replacing = tuple(f"new{n}" for n in range(TAGS_MAX))

        events = decide(customer, UpdateCustomer(tags=replacing))

        assert events == (CustomerTagged(tags=replacing), CustomerUntagged(tags=held))

    def test_activity_changes_only_when_it_differs(self) -> None:
        assert decide(given(JANE), UpdateCustomer(is_active=True)) == ()
        assert decide(given(JANE, CustomerDeactivated()), UpdateCustomer(is_active=True)) == (
            CustomerReactivated(),
        )

    def test_addresses_must_be_what_they_are(self) -> None:
        held = an_address("addr_1", is_default=True)
        customer = given(JANE, AddressAdded(address=held))

        assert decide(customer, UpdateCustomer(addresses=(held,))) == ()
        assert faults(customer, UpdateCustomer(addresses=())) == {
            ("/addresses", "use_address_endpoints")
        }

    def test_metadata_may_not_grow_past_its_limit(self) -> None:
        customer = given(
            CustomerCreated(email="j@example.com", metadata={str(n): n for n in range(50)})
        )

        assert faults(customer, UpdateCustomer(metadata={"one more": 1})) == {
            ("/metadata", "too_many")
        }


class TestTags:
    def test_adding_is_a_union(self) -> None:
        assert decide(given(JANE), AddTags(("vip", "New", "new"))) == (
            CustomerTagged(tags=("New",)),
        )

    def test_removing_ignores_case_and_names_the_kept_spelling(self) -> None:
        assert decide(given(JANE), RemoveTags(("vip",))) == (CustomerUntagged(tags=("VIP",)),)

    def test_removing_what_is_not_there_changes_nothing(self) -> None:
        assert decide(given(JANE), RemoveTags(("other",))) == ()

    def test_may_not_grow_past_their_limit(self) -> None:
        held = tuple(str(n) for n in range(TAGS_MAX))
        customer = given(CustomerCreated(email="j@example.com", tags=held))

        assert faults(customer, AddTags(("one more",))) == {("/tags", "too_many")}


class TestAddresses:
    HOME = an_address("addr_home", is_default=True)
    WORK = an_address("addr_work")
    LAKE = an_address("addr_lake")

    def customer(self) -> Customer | None:
        return given(JANE, *(AddressAdded(address=each) for each in (self.HOME, self.WORK)))

    def test_the_first_becomes_the_default(self) -> None:
        assert decide(given(JANE), AddAddress(self.WORK)) == (
            AddressAdded(address=self.WORK.model_copy(update={"is_default": True})),
        )

    def test_a_new_default_takes_the_mark(self) -> None:
        events = decide(self.customer(), AddAddress(an_address("addr_lake", is_default=True)))
        customer = fold(recorded(events, after=self.customer()), self.customer())

        assert customer is not None
        assert [each.id for each in customer.addresses if each.is_default] == ["addr_lake"]

    def test_adding_the_same_again_changes_nothing(self) -> None:
        assert decide(self.customer(), AddAddress(self.WORK)) == ()

    def test_an_update_names_the_whole_address(self) -> None:
        command = UpdateAddress(self.WORK.id, {"city": "Salem"})

        assert decide(self.customer(), command) == (
            AddressUpdated(address=self.WORK.model_copy(update={"city": "Salem"})),
        )

    def test_the_default_cannot_be_unset(self) -> None:
        command = UpdateAddress(self.HOME.id, {"is_default": False})

        assert faults(self.customer(), command) == {("/isDefault", "default_required")}

    def test_removing_the_default_promotes_the_oldest_left(self) -> None:
        customer = evolve(
            self.customer(),
            *recorded([AddressAdded(address=self.LAKE)], after=self.customer()),
        )

        assert decide(customer, RemoveAddress(self.HOME.id)) == (
            AddressRemoved(address_id=self.HOME.id, new_default_address_id=self.WORK.id),
        )

    def test_removing_another_promotes_nobody(self) -> None:
        assert decide(self.customer(), RemoveAddress(self.WORK.id)) == (
            AddressRemoved(address_id=self.WORK.id),
        )

    @pytest.mark.parametrize("command", [RemoveAddress, lambda i: UpdateAddress(i, {"city": "X"})])
    def test_an_unknown_one_is_not_found(self, command: type[RemoveAddress]) -> None:
        with pytest.raises(NotFound, match="address_not_found"):
            decide(self.customer(), command(AddressId("addr_none")))

    def test_may_not_grow_past_their_limit(self) -> None:
        many = tuple(an_address(f"addr_{n}") for n in range(ADDRESSES_MAX))
        customer = given(CustomerCreated(email="j@example.com", addresses=many))

        assert faults(customer, AddAddress(self.LAKE)) == {("/addresses", "too_many")}


ANY_CHANGE: list[Command] = [
    UpdateCustomer(changes=CustomerChanges(phone="1")),
    AddTags(("a",)),
    RemoveTags(("a",)),
    AddAddress(an_address("addr_1")),
    RemoveAddress(AddressId("addr_1")),
    UpdateAddress(AddressId("addr_1"), {}),
    DeleteCustomer(),
]


class TestGone:
    def test_deleting_says_so(self) -> None:
        assert decide(given(JANE), DeleteCustomer()) == (CustomerDeleted(),)

    @pytest.mark.parametrize("command", ANY_CHANGE, ids=lambda c: type(c).__name__)
    def test_nothing_can_be_asked_of_a_deleted_customer(self, command: Command) -> None:
        with pytest.raises(NotFound, match="customer_deleted"):
            decide(given(JANE, CustomerDeleted()), command)

    @pytest.mark.parametrize("command", ANY_CHANGE, ids=lambda c: type(c).__name__)
    def test_nor_of_one_who_never_was(self, command: Command) -> None:
        with pytest.raises(NotFound, match="customer_not_found"):
            decide(None, command)


class TestRollUps:
    def test_follow_from_each_orders_latest_state(self) -> None:
        customer = given(
            JANE,
            OrderRecorded(order=an_order("o1", 1, total=1000)),
            OrderRecorded(order=an_order("o2", 1, total=500, currency="EUR")),
            OrderRecorded(order=an_order("o1", 2, total=1000, captured=1000, refunded=300)),
            OrderRecorded(order=an_order("o3", 1, total=900, status="cancelled")),
            OrderRecorded(order=an_order("o4", 1, total=900, test=True)),
        )

        assert customer is not None
        document = customer.document("USD")
        assert document.order_count == 2
        assert document.total_spent == 700
        assert document.spent_by_currency == {"EUR": 500, "USD": 700}
        assert document.last_order_at == MOMENT

    def test_a_customer_without_orders_shows_zero(self) -> None:
        customer = given(JANE)

        assert customer is not None
        document = customer.document("USD")
        assert (document.order_count, document.total_spent, document.last_order_at) == (0, 0, None)


def test_the_state_names_the_version_and_time_of_its_last_event() -> None:
    customer = given(JANE, CustomerDeactivated())

    assert customer is not None
    assert customer.version == 2
    assert customer.created_at < customer.updated_at
