"""The commands about the log as a whole.

Invariant: as in main.py, which hangs them into the whole.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from service.cli.running import AsJson, run, settings_of

OLDER_THAN_DAYS = 90

logs = typer.Typer(help="Look after the log: its partitions, its epochs.", no_args_is_help=True)


@logs.command("new-epoch")
def log_new_epoch(
    delete_topics: Annotated[
        bool,
        typer.Option(
            "--delete-topics", help="Delete the topics of events and of states, and make them anew."
        ),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Although sessions of roles are seen.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Tell apart a log that was restored from the one that Kafka and callers know. Run it once,
    after an older backup was restored and before any role is started.

    The epoch of before is remembered with the position at which it ended. The read model goes on;
    the relay, the states and the intake begin anew. Exit code 1: a role is at work, Kafka does not
    answer, or the read model is not of the log's backup, and nothing was changed; or the epoch has
    begun and Kafka does not let us delete a topic, and a sentence says how to go on.

    \b
    Examples:
      customers log new-epoch --delete-topics
      customers log new-epoch --json
    """
    settings = settings_of()
    from service.cli.epochs import new_epoch

    run(new_epoch(settings, is_forced=force, deletes_topics=delete_topics, as_json=as_json))


@logs.command("epochs")
def log_epochs(as_json: AsJson = False) -> None:
    """List the epochs that ended, with the last position of each, and the present one.

    \b
    Example:
      customers log epochs --json
    """
    settings = settings_of()
    from service.cli.epochs import list_epochs

    run(list_epochs(settings, as_json=as_json))


@logs.command("partitions")
def log_partitions(as_json: AsJson = False) -> None:
    """List the partitions of the log: positions, events, bytes, state (archived, in use, ahead),
    times, and the files of those that are archived.

    \b
    Example:
      customers log partitions --json
    """
    settings = settings_of()
    from service.cli.archive import list_partitions

    run(list_partitions(settings, as_json=as_json))


@logs.command("archive")
def log_archive(
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="Made where it is missing.")],
    older_than: Annotated[
        float,
        typer.Option("--older-than", metavar="DAYS", help="The age of their last events at least."),
    ] = OLDER_THAN_DAYS,
    up_to: Annotated[
        int | None, typer.Option("--up-to", metavar="POSITION", min=1, help="None beyond it.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Take the oldest whole partitions out of the database, into files that were compared with it.

    Killed at any moment, it goes on when run again. The files hold what is personal sealed, as the
    log does. While they are archived, what needs these events is answered with an error that says
    so: `customers log attach` brings them back. Exit code 1: none was archived, and a sentence says
    why, or a step failed.

    \b
    Examples:
      customers log archive --to /archive
      customers log archive --to /archive --older-than 365 --up-to 20000000
    """
    settings = settings_of()
    from service.cli.archive import Wanted, archive

    run(archive(settings, Wanted(to, older_than, up_to), as_json=as_json))


@logs.command("attach")
def log_attach(
    paths: Annotated[
        list[Path], typer.Argument(metavar="DIR|FILE…", help="Archived files, or their folder.")
    ],
    takes_all: Annotated[bool, typer.Option("--all", help="All that are archived.")] = False,
    as_json: AsJson = False,
) -> None:
    """Bring archived partitions back into the database, the newest first: one, where a folder is
    named without --all.

    Only the very files that were archived are taken. Exit code 1: a file is missing or is another
    one, and nothing was changed.

    \b
    Examples:
      customers log attach /archive
      customers log attach /archive --all
      customers log attach /archive/log-000010000000-000019999999.parquet
    """
    settings = settings_of()
    from service.cli.archive import attach

    run(attach(settings, paths, takes_all=takes_all, as_json=as_json))
