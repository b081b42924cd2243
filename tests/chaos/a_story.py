"""A small true story for the tests of the checks: three events, four writes, one customer.

Invariant: no check finds anything in it as it is.
"""

from __future__ import annotations

from tests.chaos.journal import Attempt, Write
from tests.chaos.log import Row
from tests.chaos.orders import Order

EPOCH = "e"
CREATED, UPDATED = "customer.created.v1", "customer.updated.v1"
ORDER_RECORDED = "customer.order_recorded.v1"
NOBODY = {"firstName": None, "lastName": None, "phone": None}
JANE = {
    **NOBODY,
    "id": "cust_1",
    "email": "jane@example.com",
    "tags": [],
    "metadata": {},
    "active": True,
    "addresses": [],
    "version": 1,
    "orderCount": 0,
    "totalSpent": 0,
    "spentByCurrency": {},
}


def a_write(kind: str, number: int, *statuses: int, **fields: object) -> Write:
    """Attempts get the request ids `number.0`, `number.1`, …"""
    path = "/user" if kind == "create" else "/user/cust_1"
    write = Write(kind, "POST", path, None, f"key{number}", epoch=EPOCH)
    codes = {409: "email_taken", 503: "database_unavailable", 500: "internal_error"}
    write.attempts = [
        Attempt(f"{number}.{place}", status, codes.get(status, ""))
        for place, status in enumerate(statuses)
    ]
    for name, value in fields.items():
        setattr(write, name, value)
    return write


def writes() -> list[Write]:
    """A creation that was answered, a change that was answered when it was repeated, a refusal."""
    created = a_write("create", 1, 201, position=1, version=1, shown=JANE)
    changed = a_write("update", 2, 503, 200, position=3, version=3)
    refused = a_write("create", 3, 409, allowed=["email_taken"])
    repeated = a_write("replay", 4, 201, position=1, version=1, shown=JANE, path="/user")
    repeated.repeats, repeated.changes, repeated.is_replayed = created.key, False, True
    return [created, changed, refused, repeated]


def rows() -> list[Row]:
    """The change was carried out by the attempt that was not answered."""
    return [
        Row(1, "cust_1", 1, CREATED, "1.0"),
        Row(2, "cust_1", 2, ORDER_RECORDED, "order", "ord_1", 3),
        Row(3, "cust_1", 3, UPDATED, "2.0"),
    ]


def an_order(version: int, **fields: object) -> Order:
    order: Order = {"orderId": "ord_1", "orderVersion": version, "customerId": "cust_1"}
    return {**order, "status": "paid", "currency": "USD", "total": 500, "test": False, **fields}
