"""Brings a database to the shape that this release needs.

Invariants: migrations are numbered, only go forward and run once each, in one transaction each,
under a lock that lets one process at a time migrate; a file edited after it ran is refused. What
roles may do is granted anew with the last of them, in its transaction.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import NamedTuple

from service.errors import ConfigurationError
from service.postgres import Postgres, Reader, Transaction, load_statements
from service.rights import create_roles, grant_rights

MIGRATION_OWNERS = ("service", "projections")
"""Packages with a `sql/migrations` folder, in the order in which they run."""

MIGRATION_TIMEOUT_SECONDS = 600.0
_FILE_NAME = re.compile(r"^(\d{4})_(\w+)\.sql$")
SQL = load_statements("service", "migrations.sql")


@dataclass(frozen=True, slots=True)
class Migration:
    """One file. `digest` is the SHA-256 of its text."""

    owner: str
    number: int
    name: str
    text: str

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


class _Applied(NamedTuple):
    owner: str
    number: int
    digest: str


def known_migrations(owners: Sequence[str] = MIGRATION_OWNERS) -> list[Migration]:
    """Every migration this release ships, in the order in which they run."""
    found: list[Migration] = []
    for owner in owners:
        folder = files(owner) / "sql" / "migrations"
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
            match = _FILE_NAME.match(entry.name)
            if match is None:
                raise ConfigurationError(f"{owner}: {entry.name} is not a migration's name")
            text = entry.read_text(encoding="utf-8")
            found.append(Migration(owner, int(match[1]), match[2], text))
    return found


async def missing_migrations(postgres: Postgres) -> list[Migration]:
    """What has still to run here. Raises ConfigurationError where the two histories differ."""
    exists = await postgres.fetch_one(bool, SQL["history_exists"])
    if not exists:
        return known_migrations()
    return await _missing(postgres)


async def apply_migrations(postgres: Postgres) -> list[Migration]:
    """Run what is missing; what ran. Safe to call from many processes at once."""
    await postgres.execute(SQL["create_history"])
    await create_roles(postgres)
    done: list[Migration] = []
    while True:
        async with postgres.transaction() as transaction:
            await transaction.execute(SQL["lock"])
            missing = await _missing(transaction)
            for migration in missing[:1]:
                await _apply(transaction, migration)
            if len(missing) <= 1:
                await grant(transaction)
        done += missing[:1]
        if len(missing) <= 1:
            return done


async def grant(transaction: Transaction) -> None:
    """Grant anew all that is written, with what this transaction has made."""
    await grant_rights(transaction, MIGRATION_OWNERS)


async def _apply(transaction: Transaction, migration: Migration) -> None:
    await transaction.execute(migration.text)
    await transaction.execute(
        SQL["record"], migration.owner, migration.number, migration.name, migration.digest
    )


async def _missing(reader: Reader) -> list[Migration]:
    applied = await reader.fetch(_Applied, SQL["history"])
    known = {(migration.owner, migration.number): migration for migration in known_migrations()}
    for owner, number, digest in applied:
        migration = known.pop((owner, number), None)
        if migration is None:
            raise ConfigurationError(
                f"the database has {owner} migration {number}, which this release does not know: "
                "it was migrated by a newer release"
            )
        if migration.digest != digest:
            raise ConfigurationError(f"{owner} migration {number} was edited after it had run")
    return list(known.values())


async def migrate(database_url: str) -> list[Migration]:
    """Bring the database behind `database_url` up to date; the migrations that ran."""
    async with Postgres.connect(
        database_url, pool_size_max=1, command_timeout_seconds=MIGRATION_TIMEOUT_SECONDS
    ) as postgres:
        return await apply_migrations(postgres)
