"""The command about building the read model anew.

Invariant: as in main.py, which hangs it into the whole.
"""

from __future__ import annotations

from typing import Annotated

import typer

from service.cli.running import AsJson, run, settings_of
from service.errors import ConfigurationError

PROCESSES = 2
PROCESSES_MAX = 64


def rebuild(
    processes: Annotated[
        int, typer.Option(min=1, max=PROCESSES_MAX, help="Processes that read the log.")
    ] = PROCESSES,
    is_forced: Annotated[
        bool, typer.Option("--force", help="Go over although the two versions differ.")
    ] = False,
    rolls_back: Annotated[
        bool, typer.Option("--rollback", help="Go back to what was read before.")
    ] = False,
    drops_old: Annotated[
        bool, typer.Option("--drop-old", help="Remove what was read before.")
    ] = False,
    abandons: Annotated[
        bool, typer.Option("--abandon", help="Remove a build that was not gone over to.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Build the read model anew from the log, compare it with what is read, and go over to it.

    Everything may run meanwhile, and readers notice nothing. Killed at any moment, it goes on when
    run again. What was read before is kept up to date until --drop-old or the next rebuild. Needs
    the rights of the database's owner, as migrate does.

    Exit code 1: the two versions differ, so that it was not gone over to; stdout names whom.

    \b
    Examples:
      customers rebuild
      customers rebuild --processes 4 --json
      customers rebuild --rollback
      customers rebuild --drop-old
    """
    if sum([rolls_back, drops_old, abandons]) > 1:
        raise ConfigurationError("Give one of --rollback, --drop-old and --abandon.")
    from service.cli.rebuild import abandon, drop_old, roll_back
    from service.cli.rebuild import rebuild as run_rebuild

    settings = settings_of()
    if rolls_back:
        run(roll_back(settings, as_json=as_json))
    elif drops_old:
        run(drop_old(settings, as_json=as_json))
    elif abandons:
        run(abandon(settings, as_json=as_json))
    else:
        run(run_rebuild(settings, processes, is_forced=is_forced, as_json=as_json))


def rebuild_worker() -> None:
    """One of the processes that `rebuild` starts."""
    from service.cli.rebuild_worker import run_rebuild_worker

    run_rebuild_worker(settings_of())
