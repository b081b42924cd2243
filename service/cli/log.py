"""The commands about the log as a whole.

Invariant: as in main.py, which hangs them into the whole.
"""

from __future__ import annotations

from typing import Annotated

import typer

from service.cli.running import AsJson, run, settings_of

logs = typer.Typer(help="Give a restored log a name of its own.", no_args_is_help=True)


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
