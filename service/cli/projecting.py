"""The commands about projections: the role, and what is left of an old version.

Invariant: as in main.py, which hangs them into the whole.
"""

from __future__ import annotations

from typing import Annotated

import typer

from service.cli.running import run, settings_of

projections = typer.Typer(invoke_without_command=True)


@projections.callback()
def project(
    context: typer.Context,
    name: Annotated[
        str, typer.Option(help="Which: the read model, or one of CUSTOMERS_PROJECTION_MODULES.")
    ] = "customers",
    from_log: Annotated[
        bool, typer.Option("--from-log", help="Read the log itself: no Kafka is needed.")
    ] = False,
) -> None:
    """Keep the read models up to date.

    One process keeps one of them: the read model `customers`, with the topic of states, or a
    projection that was added. A new one is built from the whole log while all else goes on.

    \b
    Examples:
      CUSTOMERS_HTTP_PORT=9082 customers projections
      customers projections --name second_order --from-log
    """
    if context.invoked_subcommand is not None:
        return
    settings = settings_of()
    from service.cli.projections import run_projections

    run_projections(settings, name, is_from_log=from_log)


@projections.command("drop")
def projections_drop(
    name: Annotated[str, typer.Argument(help="The projection's name.")],
    version: Annotated[int, typer.Argument(help="Which of its versions.")],
) -> None:
    """Drop one version of a projection that was added: its table, its place, its parked customers.

    Stop its workers first. Exit code 1: there is no such version.

    \b
    Example:
      customers projections drop second_order 1
    """
    from service.cli.derived import drop

    run(drop(settings_of(), name, version))
