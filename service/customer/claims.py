"""Which e-mail address a change takes and which it gives free; pure.

Invariant: at most one customer of a tenant holds an address, so whoever takes another gives the
one before free in the same commit.
"""

from __future__ import annotations

from service.customer.state import Customer
from service.events import CustomerCreated, CustomerDeleted, CustomerUpdated, Event


def emails(customer: Customer | None, events: tuple[Event, ...]) -> tuple[str | None, str | None]:
    """The e-mail address to claim and the one to release; None of a deletion: whichever it is."""
    held = customer.email or None if customer else None
    for event in events:
        match event:
            case CustomerCreated(email=email):
                return email, None
            case CustomerUpdated(changes=changes) if "email" in changes.model_fields_set:
                return changes.email, held
            case CustomerDeleted():
                return None, held
            case _:
                continue
    return None, None
