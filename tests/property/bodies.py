"""Bodies, keys and conditions to send: in the odd spellings in which callers send them.

Invariant: the world is small, so that e-mail addresses, tags and keys meet. A faulty body comes
with every fault that must be named.
"""

from __future__ import annotations

from typing import TypeAlias

import hypothesis.strategies as st

from tests.property.customer_model import Json

Body: TypeAlias = dict[str, Json]
Faulty: TypeAlias = dict[str, tuple[Json, str, str]]
"""By field: a value, and where what is wrong with it."""
Faults: TypeAlias = tuple[tuple[str, str], ...]

EMAILS = st.sampled_from(
    [
        *("jane@example.com", "JANE@Example.com", "  jane@EXAMPLE.COM\t"),
        *("joe@example.com", "Joe@example.com", "zoë@example.com", "ZOË@example.com"),
    ]
)
NAMES = st.sampled_from([None, "", "   ", "Jane", " Jane\u00a0", "Zoë", "李", "x" * 256])
PHONES = st.sampled_from([None, "", "+1-555-0123", " (030) 12 34 "])
TAGS = st.lists(
    st.sampled_from(["vip", "VIP", " Vip ", "straße", "STRASSE", "a b", "é", "50%", "/"]),
    max_size=4,
)
KEYS = st.sampled_from(["segment", "source", "", "a/b", "ключ", "x" * 40])
VALUES = st.sampled_from(
    [
        *("", "text", "x" * 500, True, False, 0, 1, -1, 2**63 - 1, -(2**63) + 1, 2**53 + 1),
        *(1.0, 0.5, -0.25, 1e-7, 123456789.125, 1e15, -1e18, 0.1),
    ]
)
METADATA = st.dictionaries(KEYS, st.none() | VALUES, max_size=4)
ADDRESS: dict[str, st.SearchStrategy[Json]] = {
    "line1": st.sampled_from(["1 Rd", " 1 Rd ", "789 Business Blvd"]),
    "city": st.sampled_from(["Oslo", "San Francisco"]),
    "country": st.sampled_from(["NO", "us", " de "]),
}
ADDRESS_OPTIONS: dict[str, st.SearchStrategy[Json]] = {
    "label": st.sampled_from([None, "", " Home "]),
    "state": st.sampled_from([None, "CA"]),
    "postalCode": st.sampled_from([None, "94102"]),
    "isDefault": st.booleans(),
    "id": st.just("mine"),  # ignored
}
ADDRESSES = st.fixed_dictionaries(ADDRESS, optional=ADDRESS_OPTIONS)
ADDRESS_PATCHES = st.fixed_dictionaries({}, optional={**ADDRESS, **ADDRESS_OPTIONS})

_OPTIONS: dict[str, st.SearchStrategy[Json]] = {
    "firstName": NAMES,
    "lastName": NAMES,
    "phone": PHONES,
    "tags": st.none() | TAGS,
    "metadata": st.none() | METADATA,
    "active": st.booleans(),
    "id": st.just("cust_mine"),  # this and the following are ignored
    "orderCount": st.just(7),
    "stale": st.just(True),
    "version": st.none(),
}
CREATIONS = st.fixed_dictionaries(
    {"email": EMAILS},
    optional={**_OPTIONS, "addresses": st.none() | st.lists(ADDRESSES, max_size=3)},
)
PATCHES = st.fixed_dictionaries({}, optional={"email": EMAILS, **_OPTIONS})

_FAULTS: dict[str, list[tuple[Json, str, str]]] = {
    "email": [("jane", "/email", "invalid_email"), (None, "/email", "null_not_allowed")],
    "firstName": [(5, "/firstName", "invalid_type"), ("x" * 257, "/firstName", "too_long")],
    "phone": [("call me", "/phone", "invalid_phone")],
    "tags": [
        (["ok", "a,b"], "/tags/1", "invalid_characters"),
        ([" "], "/tags/0", "blank"),
        (["x"] * 251, "/tags", "too_many"),
    ],
    "metadata": [
        ({"ok": 1, "a/b": []}, "/metadata/a~1b", "invalid_type"),
        ({"n": 2**63}, "/metadata/n", "out_of_range"),
    ],
    "active": [("yes", "/active", "invalid_type"), (None, "/active", "null_not_allowed")],
    "nickname": [("J", "/nickname", "unknown_field")],
}
FAULTS = st.fixed_dictionaries(
    {}, optional={name: st.sampled_from(choices) for name, choices in _FAULTS.items()}
).filter(bool)
SOME_FAULTS = st.one_of(st.none(), st.none(), st.none(), FAULTS)


def with_faults(body: Body, faulty: Faulty) -> tuple[Body, Faults]:
    """A body that was sound, with faults in some of its fields."""
    spoilt = {name: value for name, (value, _, _) in faulty.items()}
    return {**body, **spoilt}, tuple((pointer, code) for _, pointer, code in faulty.values())


IDEMPOTENCY_KEYS = st.sampled_from(
    [*[None] * 12, "k 1", '"k 1"', "k-2", "k-3", "~" * 255, "", "x" * 256, '"open']
)


def if_match(kind: str, version: int) -> str | None:
    """A condition on a customer that is at this version."""
    return {
        "none": None,
        "any": "*",
        "right": f'"{version}"',
        "listed": f'"9999", "{version}"',
        "stale": f'"{version - 1}"',
        "weak": f'W/"{version}"',
        "unquoted": str(version),
        "mixed": f'*, "{version}"',
        "foreign": '"abc"',
    }[kind]


CONDITIONS = st.sampled_from(
    [*["none"] * 12, "any", "right", "listed", "stale", "weak", "unquoted", "mixed", "foreign"]
)
