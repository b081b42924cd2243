"""Users of a database that are members of the roles, as an operator makes them.

Invariant: users belong to the whole cluster, so their names are the test's own, and they are
dropped with the block; the roles stay, for other tests use them too.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import asyncpg

from service.rights import ROLES


@asynccontextmanager
async def users_of(database_url: str) -> AsyncIterator[Mapping[str, str]]:
    """For each role the URL of the database as a user who has that role and nothing else."""
    password = secrets.token_hex(16)
    names = {role: f"{role}_{uuid.uuid4().hex[:12]}" for role in ROLES}
    owner = await asyncpg.connect(database_url)
    try:
        for role, name in names.items():
            await owner.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{password}' IN ROLE {role}")
        yield {role: named(name, password, database_url) for role, name in names.items()}
    finally:
        for name in names.values():
            await owner.execute(f"DROP ROLE IF EXISTS {name}")
        await owner.close()


def named(name: str, password: str, url: str) -> str:
    """`url` with another user."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"{name}:{password}@{host}").geturl()
