"""Who may do what in the database: a role for each kind of process, and what each is granted.

Invariant: grants are whole or as before. They are taken from `sql/rights.sql` beside each owner's
migrations, every time that somebody migrates, so what a migration makes is granted with it. Where
the cluster lacks a role nothing is granted, and one user does everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

from service.postgres import Postgres, Reader, Transaction, load_statements

ROLES = ("customers_api", "customers_relay", "customers_projections", "customers_intake")
SQL = load_statements("service", "roles_missing.sql")


def _script(owner: str, name: str) -> str:
    return (files(owner) / "sql" / name).read_text(encoding="utf-8")


async def create_roles(postgres: Postgres) -> None:
    """Make those that the cluster lacks, where our user may. Never inside a longer transaction:
    migrations of other databases of the cluster would wait for its end."""
    await postgres.execute(_script("service", "roles.sql"))


async def missing_roles(reader: Reader) -> list[str]:
    """Those that the cluster lacks. Where there are any, no role has any right."""
    return await reader.fetch(str, SQL["missing_roles"], ROLES)


async def grant_rights(transaction: Transaction, owners: Sequence[str]) -> None:
    """Grant what `owners`, packages, say; for a database with the shape of this release.

    Raises RightMissing where our user does not own what there is.
    """
    if await missing_roles(transaction):
        return
    for owner in owners:
        await transaction.execute(_script(owner, "rights.sql"))


async def may_everybody_create(reader: Reader) -> bool:
    """Whether any user may make tables in schema `public`, as up to PostgreSQL 14, because our
    user may not take that right away."""
    return await reader.fetch(bool, SQL["everybody_may_create"]) == [True]
