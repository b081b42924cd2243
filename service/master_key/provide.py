"""That a database and a master key belong together.

Invariant: a key that a database knows is never replaced, only rotated. It is made once, by
`migrate` or `up`, while nothing was sealed and no token stored; the database remembers the root's
fingerprint, so that a wrong key is refused instead of making tokens invalid and data unreadable.
"""

from __future__ import annotations

from service.errors import ConfigurationError
from service.master_key.key import MasterKey
from service.master_key.source import KeyProvider
from service.postgres import Postgres, Transaction, load_statements

SQL = load_statements("service", "master_key.sql")


async def provide_master_key(postgres: Postgres, source: KeyProvider) -> MasterKey:
    """The key, made where none is needed yet: for `migrate` and `up`, on a migrated database.

    Raises ConfigurationError where the database knows another key, or needs one that is lost.
    """
    async with postgres.transaction() as transaction:
        # Invariant: one at a time, from the look at what is there to what is remembered: where
        # another makes the key meanwhile, it is there, in the file and in the database.
        await lock_master_key(transaction)
        key = source.read()
        known = await transaction.fetch(bytes, SQL["key_fingerprint"])
        if key is not None and known == [key.fingerprint]:
            return key
        if known or await _is_needed(transaction):
            raise ConfigurationError(_absent(source) if key is None else _foreign(source))
        key = key or source.create()
        await transaction.execute(SQL["remember_key"], key.fingerprint)
    return key


def require_master_key(source: KeyProvider) -> MasterKey:
    """The key, for roles, which only read it. Raises ConfigurationError where there is none."""
    key = source.read()
    if key is None:
        raise ConfigurationError(
            f"There is no master key in {source}: `customers migrate` makes one,"
            " and CUSTOMERS_MASTER_KEY_FILE says where it is."
        )
    return key


async def check_master_key(postgres: Postgres, key: MasterKey, source: KeyProvider) -> bool:
    """Whether the database knows this key; False where it knows none yet.

    Raises ConfigurationError where it knows another, Unavailable where it cannot be asked.
    """
    known = await _known_fingerprint(postgres)
    if known is None:
        return False
    if known != key.fingerprint:
        raise ConfigurationError(_foreign(source))
    return True


async def lock_master_key(transaction: Transaction) -> None:
    """Until its end nobody else makes, replaces or lets go a key of this database."""
    await transaction.execute(SQL["lock_key"])


async def _is_needed(transaction: Transaction) -> bool:
    return await transaction.fetch(bool, SQL["key_is_needed"]) == [True]


async def _known_fingerprint(postgres: Postgres) -> bytes | None:
    return await postgres.fetch_one(bytes, SQL["key_fingerprint"])


def _absent(source: KeyProvider) -> str:
    return (
        f"There is no master key in {source}, and this database was used with one: a new key"
        " would make what is stored unreadable, so put the old one back"
        " or set CUSTOMERS_MASTER_KEY_FILE to it."
    )


def _foreign(source: KeyProvider) -> str:
    return (
        f"The master key in {source} is not the one this database was used with: set"
        " CUSTOMERS_MASTER_KEY_FILE to the right one."
    )
