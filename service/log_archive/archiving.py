"""One partition out of the database: written, compared, its customers' states kept, taken away.

Invariants: the steps are in this order, each begins where the one before has ended whole, and the
last is one transaction; so wherever it is killed, the same call goes on and nothing is in neither
place. Whoever reads or appends waits behind each attempt at it for twice upkeep.LOCK_MS at most,
and where this process stands still meanwhile, until the database ends it: see be_brief.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from service.errors import ConfigurationError, Corrupt
from service.event_log import EventLog, Head
from service.findings import Progress
from service.log_archive.conditions import Conditions, why_not
from service.log_archive.files import Whole, hash_of
from service.log_archive.folding import make_snapshots
from service.log_archive.upkeep import LOG, SQL, Held, Partition, attempted
from service.log_archive.writing import compare, write_file
from service.log_export import write_whole
from service.postgres import Postgres, Reader, Transaction
from service.vault import Vault


async def archive_partition(
    postgres: Postgres,
    vault: Vault,
    folder: Path,
    partition: Partition,
    conditions: Conditions,
    is_held: Held,
    told: Progress,
    on_step: Callable[[str], None] = lambda _: None,
) -> Path:
    """The file in which it is from now on. `on_step` is told what has ended.

    Raises ConfigurationError where it must not leave yet; Corrupt where log or file are not whole;
    Unavailable; OSError, of the folder.
    """
    head = await EventLog(postgres).head()
    await _check(postgres, partition, head, conditions)
    path = await write_file(postgres, folder, head, partition, told)
    on_step("written")
    whole = hash_of(path)
    await compare(postgres, path, LOG, (partition.first, partition.last), told)
    if hash_of(path) != whole:
        raise Corrupt(f"{path} was changed while it was compared")
    write_whole(path.with_suffix(".sha256"), f"{whole.sha256}  {path.name}\n".encode())
    on_step("verified")
    await make_snapshots(postgres, vault, partition, told)
    on_step("snapshots made")
    await _take_away(postgres, partition, head, path.name, whole, conditions, is_held)
    on_step("archived")
    return path


async def _take_away(
    postgres: Postgres,
    partition: Partition,
    head: Head,
    name: str,
    whole: Whole,
    conditions: Conditions,
    is_held: Held,
) -> None:
    async def attempt(transaction: Transaction) -> None:
        await transaction.execute(SQL["lock_to_archive"], partition.name)
        await _check(transaction, partition, head, conditions)
        places = partition.first, partition.last, partition.name
        file = head.epoch, name, whole.bytes, whole.sha256
        times = partition.first_time, partition.last_time
        await transaction.execute(SQL["add_archived"], *places, *file, *times)
        await transaction.execute(SQL["drop_partition"], partition.name)

    await attempted(postgres, is_held, attempt)


async def _check(reader: Reader, partition: Partition, head: Head, conditions: Conditions) -> None:
    """At first, and once more when nobody can write. Raises ConfigurationError."""
    log = EventLog(reader)
    if (await log.head()).epoch != head.epoch:
        raise ConfigurationError("The log was given a new epoch meanwhile: run the command again.")
    if await log.archived_to() != partition.first - 1:
        raise ConfigurationError("Another partition has to be archived first.")
    if reasons := await why_not(reader, partition, conditions):
        raise ConfigurationError(f"{partition.name} cannot be archived: {'; '.join(reasons)}.")
