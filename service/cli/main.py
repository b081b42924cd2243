"""The command line: what there is to run, what it is called, and how it ends.

Invariants: exit codes are 0 done, 1 found or failed, 2 wrong use; a mistake is one sentence on
stderr. Nothing heavy is imported before a command needs it, so help and completion are quick.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from service.cli.output import EXIT_FAILED, EXIT_WRONG_USE
from service.errors import ConfigurationError, CustomersError, Rejected, Unavailable

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from service.settings import Settings

app = typer.Typer(
    name="customers",
    help="An event-sourced customer service: an API on a log in PostgreSQL, published to Kafka.",
    epilog="Settings come from the environment (CUSTOMERS_…) and `.env`: see `customers config`.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
tenants = typer.Typer(help="Make and list tenants.", no_args_is_help=True)
tokens = typer.Typer(help="Make, list and revoke the tokens of callers.", no_args_is_help=True)
app.add_typer(tenants, name="tenant")
app.add_typer(tokens, name="token")
intakes = typer.Typer(invoke_without_command=True)
orders = typer.Typer(help="Publish orders as a shop does.", no_args_is_help=True)
keys = typer.Typer(help="Rotate the key that wraps customers' keys.", no_args_is_help=True)
app.add_typer(intakes, name="intake")
app.add_typer(orders, name="orders")
erasures = typer.Typer(help="Show that deleted customers are forgotten.", no_args_is_help=True)
app.add_typer(erasures, name="erase")
app.add_typer(keys, name="keys")

AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]


@app.command()
def up(as_json: AsJson = False) -> None:
    """Run everything in one process, with a PostgreSQL and a Kafka broker of its own.

    Servers of yours are used instead where their addresses are set. With --json, one line on
    stdout tells a script where everything is, as soon as all is ready.

    \b
    Examples:
      customers up
      CUSTOMERS_HTTP_PORT=0 CUSTOMERS_DATA_DIRECTORY=/tmp/shop customers up --json
      CUSTOMERS_DATABASE_URL=postgresql://me@localhost/shop customers up
    """
    settings = _settings()
    from service.cli.up import run_up

    run_up(settings, as_json=as_json)


@app.command()
def api(
    workers: Annotated[
        int | None,
        typer.Option(min=1, max=64, help="Processes behind the one port (CUSTOMERS_HTTP_WORKERS)."),
    ] = None,
) -> None:
    """Answer HTTP requests.

    \b
    Examples:
      customers api
      customers api --workers 4
    """
    settings = _settings()
    from service.cli.api import run_api

    run_api(settings, workers)


@app.command(hidden=True)
def api_worker() -> None:
    """One of the processes that `api --workers` starts."""
    from service.cli.api import run_worker

    run_worker(_settings())


@app.command()
def relay() -> None:
    """Publish the log to Kafka. One relay is active, the others stand by.

    \b
    Example:
      CUSTOMERS_KAFKA_BOOTSTRAP_SERVERS=kafka:9092 customers relay
    """
    settings = _settings()
    from service.cli.relay import run_relay

    run_relay(settings)


@app.command()
def projections() -> None:
    """Keep the read models up to date.

    \b
    Example:
      CUSTOMERS_HTTP_PORT=9082 customers projections
    """
    settings = _settings()
    from service.cli.projections import run_projections

    run_projections(settings)


@intakes.callback()
def intake(context: typer.Context) -> None:
    """Take orders in from Kafka, and put aside what cannot be taken.

    \b
    Examples:
      CUSTOMERS_HTTP_PORT=9083 customers intake
      customers intake redrive --reason unknown_customer
    """
    if context.invoked_subcommand is not None:
        return
    settings = _settings()
    from service.cli.intake import run_intake

    run_intake(settings)


@intakes.command("redrive")
def intake_redrive(
    reason: Annotated[str | None, typer.Option(help="Only dead letters of this reason.")] = None,
    key: Annotated[str | None, typer.Option(help="Only those with this key: an order id.")] = None,
    as_json: AsJson = False,
) -> None:
    """Put dead letters back into the orders topic. Safe to repeat.

    \b
    Reasons: invalid_message, unknown_tenant, unknown_customer, customer_changed, version_reused
    Examples:
      customers intake redrive
      customers intake redrive --reason unknown_customer
      customers intake redrive --key ord_1001 --json
    """
    settings = _settings()
    from service.cli.intake import redrive_dead_letters

    _run(redrive_dead_letters(settings, reason, key, as_json=as_json))


@orders.command("publish")
def orders_publish(
    source: Annotated[str, typer.Argument(metavar="FILE|-", help="JSON lines, an order each.")],
    as_json: AsJson = False,
) -> None:
    """Publish orders to Kafka. Exit code 1: lines were refused, which stderr names by number.

    \b
    Examples:
      customers orders publish orders.jsonl
      zcat orders.jsonl.gz | customers orders publish -
    """
    settings = _settings()
    from service.cli.orders import publish_orders

    _run(publish_orders(settings, source, as_json=as_json))


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

    _run(verify_erasure(_settings(), customer_id, tenant))


@app.command()
def migrate(as_json: AsJson = False) -> None:
    """Bring database, master key and topics to what this release needs. Safe to repeat.

    \b
    Example:
      CUSTOMERS_DATABASE_URL=postgresql://me@db/customers customers migrate
    """
    from service.cli.migrate import migrate as run

    _run(run(_settings(), as_json=as_json))


@app.command()
def config(as_json: AsJson = False) -> None:
    """Print the settings in effect, as a `.env` file; secrets are masked.

    \b
    Examples:
      customers config > .env
      customers config --json
    """
    from service.cli.config import print_settings

    print_settings(_settings(), as_json=as_json)


@app.command()
def status(as_json: AsJson = False) -> None:
    """Show how far the log, the relay and the projections are. Exit code 1: something is down.

    \b
    Examples:
      customers status
      customers status --json
    """
    settings = _settings()
    from service.cli.status import print_status

    _run(print_status(settings, as_json=as_json))


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

    _run(create_tenant(_settings(), tenant, currency, as_json=as_json))


@tenants.command("list")
def tenant_list(as_json: AsJson = False) -> None:
    """List the tenants."""
    from service.cli.access import list_tenants

    _run(list_tenants(_settings(), as_json=as_json))


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
    _run(create_token(_settings(), tenant, wanted, name=name, expires=expires, as_json=as_json))


@tokens.command("list")
def token_list(
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's.")] = None,
    as_json: AsJson = False,
) -> None:
    """List tokens, revoked and expired ones too; their texts are known to nobody."""
    from service.cli.access import list_tokens

    _run(list_tokens(_settings(), tenant, as_json=as_json))


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

    _run(revoke_token(_settings(), token, as_json=as_json))


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
    settings = _settings()
    from service.cli.keys import prepare_rotation, rotate_keys

    if prepare is not None:
        prepare_rotation(settings, prepare, as_json=as_json)
    else:
        _run(rotate_keys(settings, as_json=as_json))


def main() -> None:
    try:
        app(prog_name="customers")
    except CustomersError as error:
        print(_sentence(error), file=sys.stderr)
        wrong_use = isinstance(error, ConfigurationError | Rejected)
        sys.exit(EXIT_WRONG_USE if wrong_use else EXIT_FAILED)


def _settings() -> Settings:
    from service.settings import read_settings

    return read_settings()


def _run(command: Coroutine[None, None, None]) -> None:
    import asyncio
    import logging

    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # what fails, one sentence says
    asyncio.run(command)


def _sentence(error: CustomersError) -> str:
    match error:
        case Rejected(faults=faults):
            return "; ".join(fault.detail for fault in faults) + "."
        case Unavailable(detail=detail):
            return detail
        case _:
            return str(error)
