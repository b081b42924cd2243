"""`customers export`: the log into files, gone on with where it was broken off; and their check.

Invariants: the same command again goes on, and what is there already is verified first; what was
asked for otherwise, or of another log, is refused and never mixed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

from service.cli.connections import key_source, migrated_database
from service.cli.export_workers import export_chunks
from service.cli.output import Failed, Json, print_json, say
from service.cli.progress import progress
from service.errors import ConfigurationError, Corrupt
from service.event_log import EventLog, Head
from service.findings import Progress
from service.log_export import (
    MANIFEST,
    Chunk,
    ExportedFile,
    ExportFolder,
    Format,
    Scope,
    Written,
    begin,
    fault_of,
    found,
    held,
    require_parquet,
    strangers,
)
from service.master_key import check_master_key, require_master_key
from service.settings import Settings
from service.telemetry import configure_logging

WORKERS_MAX = 16
WORKERS_DEFAULT_MAX = 4


@dataclass(frozen=True, slots=True)
class Options:
    """As they were given. `to_position` None: the log's end when the export begins."""

    folder: Path
    format: Format
    from_position: int
    to_position: int | None
    tenant: str | None
    personal_data: bool
    workers: int | None


async def export_log(settings: Settings, options: Options, *, as_json: bool) -> None:
    """Raises Failed, ConfigurationError; Failed too where events did not open, once all is done."""
    configure_logging("ERROR")
    if options.format == "parquet":
        require_parquet()
    head = await _head(settings, options.from_position, needs_key=options.personal_data)
    started = monotonic()
    with _folder_errors(options.folder), held(options.folder):
        export = _begun_or_found(options, head)
        with progress() as told:
            _keep_what_is_there(export, told)
            before = export.manifest.events
            await _export_missing(export, options, told)
        if (
            await _head(settings, options.from_position, needs_key=False)
        ).epoch != export.manifest.epoch:
            raise Failed("The log was restored while it was exported: delete the folder.")
        export.complete(datetime.now(UTC))
    seconds = monotonic() - started
    _tell(export, export.manifest.events - before, seconds)
    if as_json:
        print_json(_document(export, seconds))
    if damaged := sum(file.damaged for file in export.manifest.files):
        raise Failed(
            f"{damaged:,} events are lost or damaged, and marked so: see `customers verify`."
        )


def check_export(folder: Path, *, as_json: bool) -> None:
    """Prints what is wrong with an export. Raises Failed where anything is."""
    with _folder_errors(folder):
        export = found(folder)
        if export is None:
            raise Failed(f"{folder} holds no {MANIFEST}.")
        manifest = export.manifest
        faults: dict[str, str] = {}
        with progress() as told:
            told.begin("check", len(manifest.files))
            for file in manifest.files:
                if (fault := fault_of(folder, file)) is not None:
                    faults[file.name] = fault
                told.advance(1)
        faults |= dict.fromkeys(strangers(folder, manifest), "no part of the export")
    is_whole = manifest.completed_at is not None and not list(manifest.missing())
    if as_json:
        listed: Json = [{"file": name, "fault": fault} for name, fault in faults.items()]
        print_json({**_sums(export), "complete": is_whole, "faults": listed})
    for name, fault in faults.items():
        say(f"{name}: {fault}")
    if faults or not is_whole:
        state = "" if is_whole else " The export is not complete: run its command again."
        raise Failed(f"{len(faults):,} faults.{state}")
    say(f"All {len(manifest.files):,} files are as they were exported.")


async def _head(settings: Settings, first: int, *, needs_key: bool) -> Head:
    """Of the log, once it is certain that it is ours to read, from this position on."""
    async with migrated_database(settings) as postgres:
        if needs_key:
            source = key_source(settings)
            await check_master_key(postgres, require_master_key(source), source)
        log = EventLog(postgres)
        await log.require(first - 1)
        return await log.head()


def _begun_or_found(options: Options, head: Head) -> ExportFolder:
    export = found(options.folder)
    if export is None:
        return begin(options.folder, _scope(options, head), datetime.now(UTC))
    there = export.manifest
    if there.epoch != head.epoch:
        raise Failed(
            f"{options.folder} holds an export of another log (epoch {there.epoch}, here"
            f" {head.epoch}): name another folder."
        )
    asked = {
        "--format": (options.format, there.format),
        "--from": (options.from_position, there.from_position),
        "--to": (options.to_position or there.to_position, there.to_position),
        "--tenant": (options.tenant, there.tenant),
        "--without-personal-data": (not options.personal_data, not there.personal_data),
    }
    if others := [name for name, (ours, theirs) in asked.items() if ours != theirs]:
        raise ConfigurationError(
            f"{options.folder} holds an export with another {', '.join(others)}: give the same"
            " options, or name another folder."
        )
    return export


def _scope(options: Options, head: Head) -> Scope:
    first, last = options.from_position, options.to_position or head.position
    if last > head.position or first > last:
        raise ConfigurationError(
            f"There are no positions {first:,} to {last:,}: the log ends at {head.position:,}."
        )
    return Scope(
        format=options.format,
        epoch=head.epoch,
        from_position=first,
        to_position=last,
        tenant=options.tenant,
        personal_data=options.personal_data,
    )


def _keep_what_is_there(export: ExportFolder, told: Progress) -> None:
    files = export.manifest.files
    if files:
        told.begin("verify", sum(file.events for file in files))

    def on_checked(file: ExportedFile) -> None:
        told.advance(file.events)

    export.keep_what_is_there(on_checked)


async def _export_missing(export: ExportFolder, options: Options, told: Progress) -> None:
    manifest = export.manifest
    chunks = [
        Chunk(
            folder=export.path.absolute(),
            format=manifest.format,
            epoch=manifest.epoch,
            tenant=manifest.tenant,
            personal_data=manifest.personal_data,
            first=first,
            last=last,
        )
        for first, last in manifest.missing()
    ]
    if chunks:
        told.begin("export", sum(chunk.last - chunk.first + 1 for chunk in chunks))

    def on_written(chunk: Chunk, written: Written) -> None:
        export.take(written.parts)
        told.advance(chunk.last - chunk.first + 1)

    await export_chunks(chunks, options.workers or _workers(), on_written)


def _workers() -> int:
    return min(os.cpu_count() or 1, WORKERS_DEFAULT_MAX)


def _tell(export: ExportFolder, events: int, seconds: float) -> None:
    manifest = export.manifest
    say(
        f"Exported {manifest.events:,} events of positions {manifest.from_position:,} to"
        f" {manifest.to_position:,}: {len(manifest.files):,} files, {manifest.bytes:,} bytes;"
        f" {events:,} of them in {seconds:.1f} s, {events / max(seconds, 1e-9):,.0f} a second."
    )


def _document(export: ExportFolder, seconds: float) -> Json:
    return {**_sums(export), "seconds": round(seconds, 3)}


def _sums(export: ExportFolder) -> dict[str, Json]:
    manifest = export.manifest
    return {
        "folder": str(export.path),
        "format": manifest.format,
        "epoch": manifest.epoch,
        "from": manifest.from_position,
        "to": manifest.to_position,
        "events": manifest.events,
        "files": len(manifest.files),
        "bytes": manifest.bytes,
    }


@contextmanager
def _folder_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise Failed(f"{folder} cannot be used: {reason}.") from error
    except Corrupt as error:
        raise Failed(f"{error}.") from error
