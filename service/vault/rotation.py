"""A new wrapping key for the keys of all customers, while the service runs; no event is touched.

Invariant: whatever is killed at whatever moment, the provider has each key that anything is wrapped
by: the new one before its first use, an old one until nothing is left that it has wrapped. Runs at
the same time share the work, and a run after a broken one goes on with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from service.errors import ConfigurationError, Corrupt, Unavailable
from service.identifiers import CustomerId
from service.master_key import (
    KeyProvider,
    MasterKey,
    WrappingKey,
    check_master_key,
    lock_master_key,
    require_master_key,
)
from service.master_key.wrapping_key import ID_BYTES
from service.postgres import Postgres, Reader, Transaction, load_statements

SQL = load_statements("service", "vault.sql")

BATCH_KEYS_MAX = 1_000  # of one statement, which holds their rows for milliseconds
UNOPENED_NAMED_MAX = 100
ATTEMPTS_MAX = 5  # to begin, which nobody may wait for long for
PAUSE_SECONDS = 1.0  # between them


class KeyCount(NamedTuple):
    by_others: int  # wrapped by another key than the one that was asked about
    total: int


class _Held(NamedTuple):
    customer_id: CustomerId
    wrapped: bytes


@dataclass(slots=True)
class Rewrapped:
    """`named`: customers whose keys do not open, the first UNOPENED_NAMED_MAX of `unopened`."""

    count: int = 0
    unopened: int = 0
    named: list[CustomerId] = field(default_factory=list)


async def begin_rotation(postgres: Postgres, provider: KeyProvider) -> MasterKey:
    """Let the first wrapping key wrap from now on; where there is only one, a new one before it.

    Raises ConfigurationError for a key that is not this database's, or that only an operator can
    change; Unavailable where it never could, and then the same call goes on.
    """
    known = await check_master_key(postgres, require_master_key(provider), provider)
    if not known:
        raise ConfigurationError("The database has no master key yet: run `customers migrate`.")
    for _ in range(ATTEMPTS_MAX - 1):
        try:
            return await _begin(postgres, provider)
        except Unavailable:  # done or not: what was begun is gone on with
            await asyncio.sleep(PAUSE_SECONDS)
    return await _begin(postgres, provider)


async def _begin(postgres: Postgres, provider: KeyProvider) -> MasterKey:
    async with postgres.transaction() as transaction:
        # Invariant: one at a time, so that no run writes its new key over another's.
        await lock_master_key(transaction)
        key = require_master_key(provider)
        if await _is_wrapping(transaction, *key.wrapping) is False:
            raise ConfigurationError(_outdated(provider))
        if len(key.wrapping) == 1:
            key = key.with_wrapping(WrappingKey.new(), *key.wrapping)
            provider.replace(key)
        await transaction.be_brief()  # all writes wait from here on
        await transaction.execute(SQL["lock_append"])
        await transaction.execute(SQL["switch_wrapping_key"], key.wrapping[0].id)
    return key


async def rewrap(
    postgres: Postgres, key: MasterKey, on_batch: Callable[[int], None] = lambda _: None
) -> Rewrapped:
    """Wrap by the first key what another has wrapped. What does not open is left as it is.

    `on_batch` is told how many rows were looked at. No lock outlives a statement.
    """
    done = Rewrapped()
    target, last = key.wrapping[0], ""
    while rows := await postgres.fetch(
        _Held, SQL["wrapped_by_others"], last, target.id, BATCH_KEYS_MAX
    ):
        renewed = _renewed(rows, key, done)
        columns = [list(column) for column in zip(*renewed, strict=True)] or [[], [], []]
        written = await postgres.fetch(str, SQL["replace_wrapped"], target.id, *columns)
        done.count += len(written)
        last = rows[-1].customer_id
        on_batch(len(rows))
    return done


async def finish_rotation(postgres: Postgres, provider: KeyProvider, target: WrappingKey) -> bool:
    """Let every other wrapping key go; False where one is still needed, or another wraps now."""
    async with postgres.transaction() as transaction:
        await lock_master_key(transaction)
        key = require_master_key(provider)
        if not await _needs_only(transaction, key, target):
            return False
        if len(key.wrapping) > 1:
            provider.replace(key.with_wrapping(target))
    return True


async def is_rotated(postgres: Postgres, key: MasterKey, target: WrappingKey) -> bool:
    """What `finish_rotation` answers, where it is the operator who lets the other keys go."""
    async with postgres.transaction() as transaction:
        await lock_master_key(transaction)
        return await _needs_only(transaction, key, target)


async def count_keys(reader: Reader, target: WrappingKey) -> KeyCount:
    """Of customers who live."""
    (counted,) = await reader.fetch(KeyCount, SQL["count_keys"], target.id)
    return counted


async def _needs_only(transaction: Transaction, key: MasterKey, target: WrappingKey) -> bool:
    """Whether the database needs nothing of this master key but the target."""
    if key.wrapping[0] != target or not await _is_wrapping(transaction, target):
        return False
    return (await count_keys(transaction, target)).by_others == 0


async def _is_wrapping(transaction: Transaction, *keys: WrappingKey) -> bool | None:
    """Whether one of these wraps now; None before the first customer."""
    ids = [each.id for each in keys]
    return next(iter(await transaction.fetch(bool, SQL["is_wrapping"], ids)), None)


def _renewed(
    rows: Sequence[_Held], key: MasterKey, done: Rewrapped
) -> list[tuple[CustomerId, bytes, bytes]]:
    """Customer, what is wrapped now, and the same key wrapped by the first one."""
    by_id = {each.id: each for each in key.wrapping}
    renewed: list[tuple[CustomerId, bytes, bytes]] = []
    for customer_id, wrapped in rows:
        try:
            secret = by_id[wrapped[:ID_BYTES]].unwrap(customer_id, wrapped)
        except (KeyError, Corrupt):
            done.unopened += 1
            if len(done.named) < UNOPENED_NAMED_MAX:
                done.named.append(customer_id)
        else:
            renewed.append((customer_id, wrapped, key.wrapping[0].wrap(customer_id, secret)))
    return renewed


def _outdated(provider: KeyProvider) -> str:
    return (
        f"Keys of customers are wrapped by a key that {provider} does not have: put the master key"
        " there that was last in use with this database."
    )
