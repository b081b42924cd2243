"""What is shown at the end, against the ledgers of the writers and of the shop.

Invariant: expected is only what was sent and answered; the read model and its SQL take no part.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from tests.chaos.book import Json, visible
from tests.chaos.findings import Findings
from tests.chaos.orders import Order, RollUp, by_customer, totals

Shown: TypeAlias = Mapping[str, Json | None]  # by customer's id; None = deleted
ROLLED_UP = ("orderCount", "totalSpent")


def check_own(own: Iterable[Mapping[str, object]], shown: Shown) -> Findings:
    """Customers to whom one writer writes, as that writer foresees them."""
    findings = Findings()
    for customer in own:
        found = shown.get(str(customer["id"]))
        if customer["is_deleted"]:
            if found is not None:
                findings.add("wrong", f"{customer['id']} was deleted, and is shown")
        elif found is None:
            findings.add("lost", f"{customer['id']} is not shown")
        elif visible(found) != customer["shown"]:
            text = f"{customer['id']}: shown {visible(found)}, written {customer['shown']}"
            findings.add("wrong", text)
    return findings


def check_roll_ups(orders: Sequence[Order], shown: Shown) -> Findings:
    """Every living customer's, as GET shows it."""
    findings = Findings()
    expected = by_customer(orders)
    for customer_id, document in shown.items():
        if document is None:
            continue
        wanted = expected.get(customer_id, RollUp()).shown
        found = {name: document[name] for name in wanted}
        if found != wanted:
            findings.add("roll-ups", f"{customer_id}: shown {found}, sent {wanted}")
    return findings


def check_list(models: Sequence[Json], count: int, shown: Shown) -> Findings:
    """The list has every living customer once, with what GET shows."""
    findings = Findings()
    living = {name: document for name, document in shown.items() if document is not None}
    if count != len(living) or len(models) != count:
        text = f"the list counts {count} and has {len(models)}, {len(living)} customers live"
        findings.add("wrong", text)
    listed = {str(model["id"]): model for model in models}
    if len(listed) != len(models):
        findings.add("twice", f"{len(models) - len(listed)} customers stand in the list again")
    for customer_id, document in living.items():
        model = listed.get(customer_id)
        if model is None:
            findings.add("lost", f"{customer_id} is not in the list")
        elif any(model[name] != document[name] for name in model):
            kind = (
                "roll-ups" if any(model[name] != document[name] for name in ROLLED_UP) else "wrong"
            )
            findings.add(kind, f"{customer_id}: listed {model}, shown {document}")
    for customer_id in listed.keys() - living.keys():
        findings.add("wrong", f"{customer_id} is in the list, and nobody made it")
    return findings


def check_totals(orders: Sequence[Order], found: Mapping[str, tuple[int, int]]) -> Findings:
    """Of the whole store, the orders of the deleted included, to the cent."""
    findings = Findings()
    wanted = totals(orders)
    if found != wanted:
        findings.add("roll-ups", f"the store's totals are {found}, sent was {wanted}")
    return findings
