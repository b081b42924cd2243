"""The commands about who may call, which keys are in use, and who is forgotten.

Invariant: as in main.py, which hangs them into the whole.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from service.cli.running import AsJson, run, settings_of

tenants = typer.Typer(help="Make and list tenants.", no_args_is_help=True)
tokens = typer.Typer(help="Make, list and revoke the tokens of callers.", no_args_is_help=True)
keys = typer.Typer(help="Rotate the key that wraps customers' keys.", no_args_is_help=True)
erasures = typer.Typer(help="Show that deleted customers are forgotten.", no_args_is_help=True)


@erasures.command("verify")
def erase_verify(
    customer_id: Annotated[str, typer.Argument(metavar="ID", help="A deleted customer's id.")],
    tenant: Annotated[str, typer.Option(help="Whose customer it was.")] = "default",
) -> None:
    """Look at every event, table and topic for what is left of a deleted customer; print JSON.

    Exit code 1: something readable is left that does not go by itself. What Kafka still keeps until
    its retention ends is told with its time, and is no failure.

    \b
    Examples:
      customers erase verify cust_01m88wa1zwewsttrvajrrxykpb
      customers erase verify cust_01m88wa1zwewsttrvajrrxykpb --tenant acme
    """
    from service.cli.erase import verify_erasure

    run(verify_erasure(settings_of(), customer_id, tenant))


@tenants.command("create")
def tenant_create(
    tenant: Annotated[str, typer.Argument(help="The tenant's name.")],
    currency: Annotated[
        str | None, typer.Option(help="ISO 4217; CUSTOMERS_DEFAULT_CURRENCY without it.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a tenant, or change its currency while it has no orders.

    \b
    Example:
      customers tenant create acme --currency EUR
    """
    from service.cli.access import create_tenant

    run(create_tenant(settings_of(), tenant, currency, as_json=as_json))


@tenants.command("list")
def tenant_list(as_json: AsJson = False) -> None:
    """List the tenants."""
    from service.cli.access import list_tenants

    run(list_tenants(settings_of(), as_json=as_json))


@tokens.command("create")
def token_create(
    tenant: Annotated[str, typer.Option(help="Whose data; made where it is new.")],
    scopes: Annotated[str, typer.Option(help="Scopes, separated by commas.")],
    name: Annotated[str | None, typer.Option(help="What you call it: a system's name.")] = None,
    expires: Annotated[str | None, typer.Option(help="A lifetime: 45s, 30m, 12h or 90d.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a token and print it, and only it, on stdout. It is never shown again.

    \b
    Scopes: customers:read, customers:write, customers:erase, events:read, admin (all of them)
    Examples:
      customers token create --tenant default --scopes customers:read,customers:write
      customers token create --tenant acme --scopes events:read --name feed --expires 90d
    """
    from service.cli.access import create_token

    wanted = [scope.strip() for scope in scopes.split(",") if scope.strip()]
    run(create_token(settings_of(), tenant, wanted, name=name, expires=expires, as_json=as_json))


@tokens.command("list")
def token_list(
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's.")] = None,
    as_json: AsJson = False,
) -> None:
    """List tokens, revoked and expired ones too; their texts are known to nobody."""
    from service.cli.access import list_tokens

    run(list_tokens(settings_of(), tenant, as_json=as_json))


@tokens.command("revoke")
def token_revoke(
    token: Annotated[str, typer.Argument(metavar="ID|TOKEN", help="Its id, or the token itself.")],
    as_json: AsJson = False,
) -> None:
    """Revoke a token; every process refuses it within seconds.

    \b
    Example:
      customers token revoke tok_01hzy3v9k8e5mr2c7x4d6t0qaw
    """
    from service.cli.access import revoke_token

    run(revoke_token(settings_of(), token, as_json=as_json))


@keys.command("rotate")
def keys_rotate(
    prepare: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Only write the key as it shall be to a new file."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Wrap every customer's key anew under a new wrapping key, while the service runs.

    Goes on where it was interrupted. Where roles have the key from the environment or from files of
    their own, write it with --prepare first, give that to all of them, and then rotate. Exit code
    1: some keys do not open; stderr names whose, and the old wrapping key is kept. A database that
    shares the key file with this one would be lost: give it a copy of its own before.

    \b
    Examples:
      customers keys rotate
      customers keys rotate --json
      customers keys rotate --prepare next.key
    """
    settings = settings_of()
    from service.cli.keys import prepare_rotation, rotate_keys

    if prepare is not None:
        prepare_rotation(settings, prepare, as_json=as_json)
    else:
        run(rotate_keys(settings, as_json=as_json))
