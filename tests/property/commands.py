"""Commands and orders to draw: of a small world, so that they meet, and of any size.

Invariant: what is drawn here is what the border lets through: text is trimmed, an e-mail address
lower-cased, a change of a field that may not be null is never null.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TypeAlias

import hypothesis.strategies as st

from service.customer import (
    ADDRESSES_MAX,
    METADATA_KEYS_MAX,
    TAGS_MAX,
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
from service.events import Address, CustomerChanges, MetadataValue, Order
from service.identifiers import AddressId, CustomerId
from tests.support.histories import MOMENT, an_address, an_order

Happening: TypeAlias = Command | Order

NAMES = st.sampled_from([None, "Jane", "Zoë", "李", "x" * 256])
EMAILS = st.sampled_from(["jane@example.com", "joe@example.com", "zoë@example.com"])
SPELLINGS = ("vip", "VIP", "straße", "STRASSE", "ﬁn", "FIN")
VALUES: st.SearchStrategy[MetadataValue] = st.sampled_from(
    ["", "1", "true", 0, 1, -1, 2**63 - 1, True, False, 0.0, 1.0, 0.5, 1e-7]
)
KEYS = st.sampled_from(["segment", "source", "", "a/b", "~", "ключ"])


def _tags(number: int, count: int) -> tuple[str, ...]:
    return tuple(f"tag-{each}" for each in range(number, number + count))


def _metadata(count: int) -> dict[str, MetadataValue]:
    return {f"key-{each}": each for each in range(count)}


FEW_TAGS = st.lists(st.sampled_from(SPELLINGS), max_size=6).map(tuple)
MANY_TAGS = st.builds(
    _tags, st.integers(0, TAGS_MAX), st.sampled_from([1, TAGS_MAX // 2, TAGS_MAX])
)
TAGS = st.one_of(FEW_TAGS, FEW_TAGS, MANY_TAGS)
FEW_METADATA = st.dictionaries(KEYS, VALUES, max_size=4)
METADATA = st.one_of(
    FEW_METADATA, st.sampled_from([METADATA_KEYS_MAX, METADATA_KEYS_MAX + 1]).map(_metadata)
)
PATCHES = st.one_of(st.dictionaries(KEYS, st.none() | VALUES, max_size=4), METADATA)
ADDRESS_IDS = st.integers(0, 4).map(lambda number: AddressId(f"addr_{number}"))
ADDRESSES: st.SearchStrategy[Address] = st.builds(
    an_address, ADDRESS_IDS, is_default=st.booleans(), city=st.sampled_from(["Oslo", "Rome"])
)


def _some_addresses(count: int, default: int) -> tuple[Address, ...]:
    return tuple(
        an_address(f"addr_{number}", is_default=number == default) for number in range(count)
    )


CREATIONS = st.builds(
    CreateCustomer,
    id=st.just(CustomerId("cust_1")),
    email=EMAILS,
    first_name=NAMES,
    last_name=NAMES,
    phone=st.sampled_from([None, "+1-555-0123"]),
    tags=TAGS,
    metadata=METADATA,
    addresses=st.builds(
        _some_addresses,
        st.sampled_from([0, 1, 2, 3, ADDRESSES_MAX - 1, ADDRESSES_MAX]),
        st.integers(0, 3),
    ),
    is_active=st.booleans(),
)
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "email": EMAILS,
        "first_name": NAMES,
        "last_name": NAMES,
        "phone": st.sampled_from([None, "+1-555-0123", "4711"]),
    },
).map(CustomerChanges.model_validate)
UPDATES = st.builds(
    UpdateCustomer,
    changes=CHANGES,
    metadata=st.none() | PATCHES,
    tags=st.none() | TAGS,
    is_active=st.none() | st.booleans(),
) | st.builds(UpdateCustomer, changes=CHANGES, clear_metadata=st.just(True))
ADDRESS_CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "label": st.sampled_from([None, "Home"]),
        "city": st.sampled_from(["Oslo", "Bonn"]),
        "is_default": st.booleans(),
    },
)
DELETIONS = st.just(DeleteCustomer())
CHANGING: st.SearchStrategy[Command] = st.one_of(
    UPDATES,
    st.builds(AddTags, TAGS),
    st.builds(RemoveTags, TAGS),
    st.builds(AddAddress, ADDRESSES),
    st.builds(UpdateAddress, ADDRESS_IDS, ADDRESS_CHANGES),
    st.builds(RemoveAddress, ADDRESS_IDS),
)
AMOUNTS = st.integers(0, 10_000)
ORDERS: st.SearchStrategy[Order] = st.builds(
    an_order,
    st.integers(0, 3).map(lambda number: f"ord_{number}"),
    st.integers(1, 5),
    total=AMOUNTS,
    captured=st.none() | AMOUNTS,
    refunded=st.none() | AMOUNTS,
    currency=st.sampled_from(["USD", "EUR", "JPY"]),
    status=st.sampled_from(["pending", "placed", "paid", "completed", "cancelled", "failed"]),
    test=st.booleans(),
    placed_at=st.integers(0, 3).map(lambda days: MOMENT + timedelta(days=days)),
)
LIFE: st.SearchStrategy[list[Happening]] = st.lists(
    st.one_of(CHANGING, CHANGING, CHANGING, ORDERS, CREATIONS), max_size=20
)
AFTERLIFE: st.SearchStrategy[list[Happening]] = st.lists(
    st.one_of(CHANGING, ORDERS, CREATIONS, DELETIONS), max_size=4
)
