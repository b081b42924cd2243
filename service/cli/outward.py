"""The commands that give the log to others: into files, and to a topic of their own.

Invariant: as in main.py, which hangs them into the whole.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from service.cli.running import AsJson, run, settings_of


class FileFormat(StrEnum):
    JSONL = "jsonl"
    PARQUET = "parquet"


FromPosition = Annotated[int, typer.Option("--from", min=1, help="The first position.")]
ToPosition = Annotated[
    int | None,
    typer.Option("--to", min=1, help="The last position; without it, where the log ends now."),
]


def export(
    folder: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", help="Made where it is missing; else empty, or begun."),
    ],
    file_format: Annotated[FileFormat, typer.Option("--format")] = FileFormat.JSONL,
    from_position: FromPosition = 1,
    to_position: ToPosition = None,
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's events.")] = None,
    without_personal_data: Annotated[
        bool, typer.Option("--without-personal-data", help="Personal fields stay blank.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, max=16, help="Processes; without it, one per core, to 4.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Only compare an export with its manifest.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write the events of the log to files, with a manifest of counts and checksums.

    Run it again after it was broken off, and it goes on. The files hold personal data in clear,
    unless it is left out; a deletion does not reach them. Exit code 1 with --check: something is
    missing or changed.

    \b
    Examples:
      customers export /data/events
      customers export /data/events --format parquet --from 1 --to 5000000
      customers export /data/events --tenant acme --without-personal-data
      customers export /data/events --check
    """
    from service.cli.export import Options, check_export, export_log

    if check:
        check_export(folder, as_json=as_json)
        return
    options = Options(
        folder=folder,
        format=file_format.value,
        from_position=from_position,
        to_position=to_position,
        tenant=tenant or None,
        personal_data=not without_personal_data,
        workers=workers,
    )
    run(export_log(settings_of(), options, as_json=as_json))


def export_worker() -> None:
    """One of the processes that `export` starts."""
    from service.cli.export_worker import run_export_worker

    run_export_worker(settings_of())


def replay(
    to_topic: Annotated[str, typer.Option("--to-topic", help="Made where it is missing.")],
    from_position: Annotated[int, typer.Option("--from", min=1, help="The first position.")],
    to_position: ToPosition = None,
    partitions: Annotated[
        int | None,
        typer.Option(min=1, help="Of a new topic; without it, as many as the events topic has."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Publish a part of the log once more, to a topic of its own, for a new subscriber.

    Run it again after it was broken off, and it goes on. The topics of the service are not touched.

    \b
    Examples:
      customers replay --to-topic billing.customers --from 1
      customers replay --to-topic billing.customers --from 1 --to 5000000 --json
    """
    settings = settings_of()
    from service.cli.replay import replay_log

    asked = to_topic, from_position, to_position, partitions
    run(replay_log(settings, *asked, as_json=as_json))
