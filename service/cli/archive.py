"""`customers log partitions`, `archive`, `attach`: old partitions out of the database, and back.

Invariants: the oldest leaves first and the newest archived one comes back first; what must not
leave yet stays, and a sentence says why. Files and folder are the operator's: nothing of theirs is
removed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from projections.upkeep import still_needed
from service.cli.connections import kafka_config, migrated_database, vault_of
from service.cli.output import Failed, Json, moment, print_json, print_table, say
from service.cli.progress import progress
from service.errors import ConfigurationError, Corrupt, Unavailable
from service.event_log import EventLog
from service.idempotency_expiry import KEPT_SECONDS
from service.log_archive import (
    Archived,
    Conditions,
    Partition,
    archive_partition,
    archived_partitions,
    attach_file,
    hold_upkeep,
    partitions,
    why_not,
)
from service.log_archive.conditions import SECONDS_PER_DAY
from service.log_export import held, require_parquet
from service.postgres import Postgres, Reader
from service.settings import Settings
from service.telemetry import configure_logging

STATEMENT_SECONDS_MAX = 3_600.0  # some statements go over a whole partition
CONNECTIONS = 2  # one of them holds the lock
MARGIN_SECONDS = SECONDS_PER_DAY  # beyond what others may still ask for


@dataclass(frozen=True, slots=True)
class Wanted:
    """As it was given. `up_to`: no partition that ends behind this position."""

    folder: Path
    older_than_days: float
    up_to: int | None


async def list_partitions(settings: Settings, *, as_json: bool) -> None:
    """The oldest first."""
    async with migrated_database(settings) as postgres:
        head = await EventLog(postgres).head()
        gone, there = await archived_partitions(postgres), await partitions(postgres)
    if as_json:
        print_json(
            {
                "epoch": head.epoch,
                "head": head.position,
                "archivedTo": gone[-1].last if gone else 0,
                "partitions": [_archived(each) for each in gone]
                + [_there(each, head.position) for each in there],
            }
        )
        return
    rows = [_row(each.name, each.first, each.last, each.events, each.file_bytes, "archived",
                 moment(each.first_time), moment(each.last_time), each.file_name)
            for each in gone]  # fmt: skip
    rows += [_row(each.name, each.first, each.last, _events(each, head.position), each.bytes,
                  _state(each, head.position), moment(each.first_time), moment(each.last_time), "")
             for each in there]  # fmt: skip
    titles = ["PARTITION", "FIRST", "LAST", "EVENTS", "BYTES", "STATE", "FROM", "TO", "FILE"]
    print_table(titles, rows)


async def archive(settings: Settings, wanted: Wanted, *, as_json: bool) -> None:
    """Raises Failed where the first one must not leave yet, and where a step has failed."""
    configure_logging("ERROR")
    require_parquet()
    vault, conditions = vault_of(settings), _conditions(settings, wanted.older_than_days)
    done: list[Partition] = []
    with _folder_errors(wanted.folder), held(wanted.folder):
        async with _upkeep(settings) as postgres, hold_upkeep(postgres) as is_held:
            reasons: Sequence[str] = ["there is none"]
            with progress() as told:
                for each in await partitions(postgres):
                    reasons = await _reasons(postgres, each, wanted, conditions)
                    if reasons:
                        break
                    say(f"{each.name}: positions {each.first:,} to {each.last:,}.")
                    step = partial(_say_step, each)
                    path = await archive_partition(
                        postgres, vault, wanted.folder, each, conditions, is_held, told, step
                    )
                    say(f"{each.name} is in {path}.")
                    done.append(each)
    why = "; ".join(reasons)
    if as_json:
        print_json({"archived": [each.name for each in done], "why": why})
    if not done:
        raise Failed(f"Nothing was archived. The oldest partition stays: {why}.")
    say(f"Archived {len(done):,}. The next partition stays: {why}.")


async def attach(
    settings: Settings, paths: Sequence[Path], *, takes_all: bool, as_json: bool
) -> None:
    """Raises Failed where a file is missing, or is not what was archived; nothing changes then."""
    configure_logging("ERROR")
    require_parquet()
    done: list[str] = []
    async with _upkeep(settings) as postgres, hold_upkeep(postgres) as is_held:
        left = list(reversed(await archived_partitions(postgres)))
        count = len(left) if takes_all else _count(left, paths)
        with progress() as told:
            for each in left[:count]:
                path = _found(each, paths)
                with _folder_errors(path):
                    await attach_file(postgres, path, each, is_held, told)
                say(f"{each.name} is part of the log again: {each.first:,} to {each.last:,}.")
                done.append(each.name)
    if as_json:
        print_json({"attached": [*done], "archivedTo": left[count].last if left[count:] else 0})
    if not left:
        say("Nothing is archived.")


def _count(left: Sequence[Archived], paths: Sequence[Path]) -> int:
    """How many, of the newest: as many as files are named, or one where folders are."""
    files = {path.name for path in paths if not path.is_dir()}
    if not files:
        return min(1, len(left))
    names = [each.file_name for each in left]
    count = max((names.index(name) + 1 for name in files if name in names), default=0)
    for name in sorted(files - set(names)):
        if left:
            raise Failed(f"{name} is none of the files that are archived: {', '.join(names)}.")
        say(f"{name}: nothing is archived.")
    if missing := [name for name in names[:count] if name not in files]:
        raise Failed(f"The newest comes back first: name {', '.join(missing)}, too.")
    return count


def _found(archived: Archived, paths: Sequence[Path]) -> Path:
    for path in paths:
        if path.is_dir() and (path / archived.file_name).exists():
            return path / archived.file_name
        if path.name == archived.file_name and path.exists():
            return path
    raise Failed(f"{archived.file_name} is not there: name it, or the folder that holds it.")


async def _reasons(
    postgres: Postgres, each: Partition, wanted: Wanted, conditions: Conditions
) -> Sequence[str]:
    if wanted.up_to is not None and each.last > wanted.up_to:
        return [f"it ends at position {each.last:,}, behind --up-to {wanted.up_to:,}"]
    return await why_not(postgres, each, conditions)


def _conditions(settings: Settings, older_than_days: float) -> Conditions:
    """Raises ConfigurationError where others may still ask for events that are younger."""
    servers = settings.kafka_bootstrap_servers
    config = kafka_config(settings, servers or "")
    least = max(KEPT_SECONDS, config.events_retention_seconds) + MARGIN_SECONDS
    if not older_than_days * SECONDS_PER_DAY >= least:  # `nan`, too, is not
        raise ConfigurationError(
            f"--older-than must be {least / SECONDS_PER_DAY:g} days at least: for so long"
            " idempotency keys, or events in Kafka, are kept, and a day more."
        )

    async def needs(reader: Reader, position: int) -> Sequence[str]:
        return await still_needed(reader, position, has_states=servers is not None)

    topic = None if servers is None else config.events_topic.name
    return Conditions(older_than_days * SECONDS_PER_DAY, topic, needs)


def _upkeep(settings: Settings) -> AbstractAsyncContextManager[Postgres]:
    return migrated_database(
        settings, command_timeout_seconds=STATEMENT_SECONDS_MAX, pool_size_max=CONNECTIONS
    )


def _say_step(partition: Partition, step: str) -> None:
    say(f"{partition.name}: {step}.")


def _events(partition: Partition, head: int) -> int:
    return max(0, min(partition.last, head) - partition.first + 1)


def _state(partition: Partition, head: int) -> str:
    return "ahead" if partition.first > head else "in use"


def _there(partition: Partition, head: int) -> Json:
    return {
        "name": partition.name,
        "first": partition.first,
        "last": partition.last,
        "events": _events(partition, head),
        "bytes": partition.bytes,
        "state": _state(partition, head).replace(" ", "_"),
        "firstTime": moment(partition.first_time) or None,
        "lastTime": moment(partition.last_time) or None,
    }


def _archived(archived: Archived) -> Json:
    return {
        "name": archived.name,
        "first": archived.first,
        "last": archived.last,
        "events": archived.events,
        "bytes": archived.file_bytes,
        "state": "archived",
        "firstTime": moment(archived.first_time),
        "lastTime": moment(archived.last_time),
        "file": archived.file_name,
        "sha256": archived.sha256,
        "archivedAt": moment(archived.archived_at),
        "epoch": archived.epoch,
    }


def _row(*values: str | int) -> list[str]:
    return [f"{each:,}" if isinstance(each, int) else each for each in values]


@contextmanager
def _folder_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise Failed(f"{path} cannot be used: {reason}.") from error
    except Corrupt as error:
        raise Failed(f"{error}. Nothing was changed in the log.") from error
    except Unavailable as error:
        raise Failed(f"{error.detail} Run the same command again: it goes on.") from error
