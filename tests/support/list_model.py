"""The customer list, naively: every filter and every sort over a plain Python list.

Invariant: it is written from the documentation of the list and shares no code with the queries, but
for the folding of text, which tests of its own hold to examples.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

import orjson

from service.documents import list_item
from service.folding import fold
from service.list_request import ListRequest, SortField, SortKey
from tests.support.read_model_seed import SeededCustomer

_Value: TypeAlias = tuple[str, str] | int | datetime | None


@dataclass(frozen=True, slots=True)
class _Known:
    """A customer with what is compared worked out once."""

    customer: SeededCustomer
    texts: tuple[str, ...]  # folded names and e-mail address
    tags: frozenset[str]
    values: dict[SortField, _Value]


class ListModel:
    """All customers of all tenants, as they are now."""

    def __init__(self, customers: Iterable[SeededCustomer]) -> None:
        self._known = [_known(customer) for customer in customers]

    def matching(self, tenant: str, request: ListRequest) -> list[SeededCustomer]:
        """Every match in the wanted order: its number is the list's count."""
        found = [
            known
            for known in self._known
            if known.customer.tenant == tenant and _matches(known, request)
        ]
        _sort(found, request.sort)
        return [known.customer for known in found]

    def page(self, tenant: str, request: ListRequest) -> list[SeededCustomer]:
        first = (request.page - 1) * request.display
        return self.matching(tenant, request)[first : first + request.display]


def shown(customer: SeededCustomer) -> dict[str, object]:
    """A customer's line in a list."""
    return orjson.loads(list_item(customer.document()).json_bytes())


def _known(customer: SeededCustomer) -> _Known:
    texts = (customer.first_name, customer.last_name, customer.email)
    return _Known(
        customer,
        tuple(fold(text) for text in texts if text is not None),
        frozenset(tag.casefold() for tag in customer.tags),
        {
            "createdAt": customer.created_at,
            "updatedAt": customer.updated_at,
            "email": _text(customer.email),
            "firstName": _text(customer.first_name),
            "lastName": _text(customer.last_name),
            "orderCount": customer.order_count,
            "totalSpent": customer.total_spent,
            "lastOrderAt": customer.last_order_at,
        },
    )


def _words(q: str | None) -> list[str]:
    """A search of accents alone has no folded word, and finds nobody."""
    return [] if q is None else fold(q).split() or [q]


def _text(text: str | None) -> tuple[str, str] | None:
    return None if text is None else (fold(text), text)


def _matches(known: _Known, request: ListRequest) -> bool:
    customer = known.customer
    return (
        all(any(word in text for text in known.texts) for word in _words(request.q))
        and all(tag.casefold() in known.tags for tag in request.tags)
        and (request.since is None or customer.created_at > request.since)
        and (request.until is None or customer.created_at < request.until)
        and (request.updated_since is None or customer.updated_at > request.updated_since)
        and (request.active is None or customer.is_active is request.active)
        and (request.email is None or customer.email == request.email)
        and (request.min_spent is None or customer.total_spent >= request.min_spent)
        and (request.max_spent is None or customer.total_spent <= request.max_spent)
        and (request.min_orders is None or customer.order_count >= request.min_orders)
        and (request.max_orders is None or customer.order_count <= request.max_orders)
    )


def _sort(found: list[_Known], sort: Sequence[SortKey]) -> None:
    """The last key first, since each sort keeps the order of equals. Empty values go last."""
    found.sort(key=lambda known: known.customer.id, reverse=sort[0].is_descending)
    for key in reversed(sort):
        valued = [known for known in found if known.values[key.field] is not None]
        empty = [known for known in found if known.values[key.field] is None]
        valued.sort(key=lambda known: known.values[key.field], reverse=key.is_descending)
        found[:] = [*valued, *empty]
