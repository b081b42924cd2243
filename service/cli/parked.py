"""The commands about customers whose events could not be applied to the read model.

Invariant: as in main.py, which hangs them into the whole.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

from service.cli.running import AsJson, run, settings_of
from service.errors import ConfigurationError

parked = typer.Typer(
    help="List the customers that a projection has parked, and let them go on.",
    no_args_is_help=True,
)

Tenant: TypeAlias = Annotated[str | None, typer.Option(help="Only this tenant's customers.")]


@parked.command("list")
def parked_list(tenant: Tenant = None, as_json: AsJson = False) -> None:
    """List the parked customers: which event is the first that is not shown, why, since when, and
    how many of the customer's events wait.

    \b
    Examples:
      customers parked list
      customers parked list --tenant acme --json
    """
    from service.cli.release import list_parked

    run(list_parked(settings_of(), tenant, as_json=as_json))


@parked.command("retry")
def parked_retry(
    customer_id: Annotated[str, typer.Argument(metavar="ID", help="A customer's id.")],
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> None:
    """Try one customer again, and say what happened. Safe to repeat; workers may run meanwhile.

    Exit code 1: the customer is still parked, or there is no such customer.

    \b
    Example:
      customers parked retry cust_01m88wa1zwewsttrvajrrxykpb
    """
    from service.cli.release import retry_parked

    run(retry_parked(settings_of(), customer_id, tenant, as_json=as_json))


@parked.command("release")
def parked_release(
    customer_id: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="A customer's id.")
    ] = None,
    everybody: Annotated[bool, typer.Option("--all", help="All parked customers.")] = False,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> None:
    """Let customers go on once the cause is mended: apply what waits, in order, and show them.

    Safe to repeat; workers may run meanwhile. Who cannot go on stays parked, and holds up nobody.
    Exit code 1: somebody is still parked, or there is no such customer.

    \b
    Examples:
      customers parked release --all
      customers parked release --all --tenant acme --json
      customers parked release cust_01m88wa1zwewsttrvajrrxykpb
    """
    if everybody == (customer_id is not None):
        raise ConfigurationError("Name one customer, or give --all.")
    from service.cli.release import release_parked

    run(release_parked(settings_of(), customer_id, tenant, as_json=as_json))
