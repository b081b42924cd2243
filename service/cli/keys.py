"""`customers keys rotate`: a new wrapping key, and every customer's key under it.

Invariant: no key is ever printed; one is written to a file that only its owner reads.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from service.cli.connections import key_source, migrated_database
from service.cli.output import Failed, print_json, say
from service.master_key import KeySource, WrappingKey, require_master_key
from service.postgres import Postgres
from service.settings import Settings
from service.vault import (
    Rewrapped,
    begin_rotation,
    count_keys,
    finish_rotation,
    is_rotated,
    rewrap,
)

STATEMENT_TIMEOUT_SECONDS = 300.0  # counting reads the keys of all customers


async def rotate_keys(settings: Settings, *, as_json: bool) -> None:
    """Raises Failed where keys do not open, or where another rotation has begun meanwhile."""
    source = key_source(settings)
    async with migrated_database(
        settings, command_timeout_seconds=STATEMENT_TIMEOUT_SECONDS
    ) as postgres:
        key = await begin_rotation(postgres, source)
        target = key.wrapping[0]
        counted = await count_keys(postgres, target)
        with _progress(counted.by_others) as on_batch:
            done = await rewrap(postgres, key, on_batch)
        _tell(done, target, counted.total, as_json=as_json)
        if done.unopened:
            raise Failed(
                f"Keys that do not open: {done.unopened}; they were left as they are, and the old"
                " wrapping keys too. Put these rows of vault.customer_key back from a backup, and"
                " rotate again."
            )
        await _let_old_keys_go(postgres, source, target)


def prepare_rotation(settings: Settings, path: Path, *, as_json: bool) -> None:
    """Write the master key, with a new wrapping key before the one it has, to a new file."""
    source = key_source(settings)
    key = require_master_key(source)
    if len(key.wrapping) > 1:
        raise Failed(f"The master key in {source} is prepared already: rotate first.")
    target = WrappingKey.new()
    KeySource(path).keep_aside(key.with_wrapping(target, *key.wrapping))
    say(f"Wrote {path}: put it in the place of the master key everywhere, then rotate.")
    if as_json:
        print_json({"wrappingKeyId": target.id.hex()})


def _tell(done: Rewrapped, target: WrappingKey, total: int, *, as_json: bool) -> None:
    say(f"Wrapped {done.count} of {total} keys by wrapping key {target.id.hex()}.")
    for customer_id in done.named:
        say(f"The key of {customer_id} does not open.")
    if as_json:
        print_json(
            {
                "wrappingKeyId": target.id.hex(),
                "rewrapped": done.count,
                "total": total,
                "unopened": done.unopened,
                "unopenedCustomers": [*done.named],
            }
        )


async def _let_old_keys_go(postgres: Postgres, source: KeySource, target: WrappingKey) -> None:
    if source.given is None:
        done, what = await finish_rotation(postgres, source, target), "they are gone from"
    else:
        done = await is_rotated(postgres, require_master_key(source), target)
        what = "leave only the first wrap: in"
    if not done:
        raise Failed(
            "Another rotation has begun meanwhile, and the old wrapping keys may still be needed:"
            " leave them where they are, and rotate again when it is done."
        )
    say(f"Nothing needs the old wrapping keys: {what} {source}.")


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """On a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("Wrapping keys", total=total)

        def on_batch(count: int) -> None:
            progress.advance(task, count)

        yield on_batch
