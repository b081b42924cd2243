"""The tenants: whose customers there are, and the currency in which each adds up its spending.

Invariant: a tenant's currency stays once an order is in the log; `totalSpent` never changes unit.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import NamedTuple

from service.errors import Fault, Rejected
from service.postgres import Postgres, load_statements

DEFAULT_TENANT = "default"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_CURRENCY = re.compile(r"[A-Z]{3}")

SQL = load_statements("service", "tenants.sql")


class TenantRow(NamedTuple):
    """A tenant as listed."""

    name: str
    currency: str
    created_at: datetime


class Ensured(NamedTuple):
    """A tenant that exists now; `currency` is the one it was made with, then or before."""

    currency: str
    is_new: bool


class Tenants:
    """Makes and lists tenants."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    async def ensure(self, name: str, currency: str) -> Ensured:
        """Make the tenant with `currency` where it is new. Raises Rejected."""
        if faults := [*_name_faults(name), *_currency_faults(currency)]:
            raise Rejected(faults)
        while True:
            found = await self._postgres.fetch_one(Ensured, SQL["ensure_tenant"], name, currency)
            if found is not None:
                return found
            # Made by somebody else since this statement's snapshot: the next one sees it.

    async def change_currency(self, name: str, currency: str) -> bool:
        """False where the tenant has orders already, or does not exist. Raises Rejected."""
        if faults := _currency_faults(currency):
            raise Rejected(faults)
        changed = await self._postgres.fetch_one(str, SQL["change_currency"], name, currency)
        return changed is not None

    async def all(self) -> list[TenantRow]:
        """Every tenant, by name."""
        return await self._postgres.fetch(TenantRow, SQL["tenants"])


def _name_faults(name: str) -> list[Fault]:
    if _NAME.fullmatch(name):
        return []
    detail = "a tenant's name is 1 to 63 letters, digits, dots, dashes or underscores"
    return [Fault("tenant", "invalid_tenant", detail)]


def _currency_faults(currency: str) -> list[Fault]:
    from pycountry import currencies  # late: it reads its tables

    if _CURRENCY.fullmatch(currency) and currencies.get(alpha_3=currency) is not None:
        return []
    return [Fault("currency", "unknown_currency", "a currency is a code of ISO 4217, as USD")]
