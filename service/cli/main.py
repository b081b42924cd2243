"""The command line: what there is to run, what it is called, and how it ends.

Invariants: exit codes are 0 done, 1 found or failed, 2 wrong use; a mistake is one sentence on
stderr. Nothing heavy is imported before a command needs it, so help and completion are quick.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from service.cli.log import logs
from service.cli.output import EXIT_FAILED, EXIT_WRONG_USE
from service.cli.outward import export, export_worker, replay
from service.cli.parked import parked
from service.cli.projecting import projections
from service.cli.rebuilding import rebuild, rebuild_worker
from service.cli.running import AsJson, run, settings_of
from service.cli.secure import erasures, keys, tenants, tokens
from service.errors import ConfigurationError, CustomersError, Rejected, Unavailable

app = typer.Typer(
    name="customers",
    help="An event-sourced customer service: an API on a log in PostgreSQL, published to Kafka.",
    epilog="Settings come from the environment (CUSTOMERS_…) and `.env`: see `customers config`.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(tenants, name="tenant")
app.add_typer(tokens, name="token")
intakes = typer.Typer(invoke_without_command=True)
orders = typer.Typer(help="Publish orders as a shop does.", no_args_is_help=True)
app.add_typer(intakes, name="intake")
app.add_typer(orders, name="orders")
app.add_typer(erasures, name="erase")
app.add_typer(keys, name="keys")
app.add_typer(logs, name="log")
app.add_typer(parked, name="parked")
app.command()(rebuild)
app.command(hidden=True)(rebuild_worker)
app.add_typer(projections, name="projections")
app.command()(export)
app.command(hidden=True)(export_worker)
app.command()(replay)


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
    settings = settings_of()
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
    settings = settings_of()
    from service.cli.api import run_api

    run_api(settings, workers)


@app.command(hidden=True)
def api_worker() -> None:
    """One of the processes that `api --workers` starts."""
    from service.cli.api import run_worker

    run_worker(settings_of())


@app.command()
def relay() -> None:
    """Publish the log to Kafka. One relay is active, the others stand by.

    \b
    Example:
      CUSTOMERS_KAFKA_BOOTSTRAP_SERVERS=kafka:9092 customers relay
    """
    settings = settings_of()
    from service.cli.relay import run_relay

    run_relay(settings)


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
    settings = settings_of()
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
    settings = settings_of()
    from service.cli.intake import redrive_dead_letters

    run(redrive_dead_letters(settings, reason, key, as_json=as_json))


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
    settings = settings_of()
    from service.cli.orders import publish_orders

    run(publish_orders(settings, source, as_json=as_json))


@app.command()
def migrate(as_json: AsJson = False) -> None:
    """Bring database, master key and topics to what this release needs. Safe to repeat.

    \b
    Example:
      CUSTOMERS_DATABASE_URL=postgresql://me@db/customers customers migrate
    """

    from service.cli.migrate import migrate as run_migrations

    run(run_migrations(settings_of(), as_json=as_json))


@app.command()
def config(as_json: AsJson = False) -> None:
    """Print the settings in effect, in the form of a `.env` file, without its secrets.

    \b
    Examples:
      customers config > settings.txt
      customers config --json
    """
    from service.cli.config import print_settings

    print_settings(settings_of(), as_json=as_json)


@app.command()
def status(as_json: AsJson = False) -> None:
    """Show how far the log, the relay and the projections are. Exit code 1: something is down.

    \b
    Examples:
      customers status
      customers status --json
    """
    settings = settings_of()
    from service.cli.status import print_status

    run(print_status(settings, as_json=as_json))


@app.command()
def verify(
    only: Annotated[
        str | None,
        typer.Option(help="Only these, with commas: log, kafka, states, read-model, projections."),
    ] = None,
    without_kafka: Annotated[
        bool, typer.Option("--without-kafka", help="Leave kafka and states out.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Compare the log, Kafka, the read model and projections; the system may run meanwhile.

    Exit code 1: something is missing, repeated, out of order, different, or should not be there.

    \b
    Examples:
      customers verify
      customers verify --without-kafka
      customers verify --only kafka,states --json
    """
    from service.cli.verify import chosen_parts
    from service.cli.verify import verify as run_verification

    parts = chosen_parts(only, without_kafka=without_kafka)
    run(run_verification(settings_of(), parts, as_json=as_json))


def main() -> None:
    try:
        app(prog_name="customers")
    except CustomersError as error:
        print(_sentence(error), file=sys.stderr)
        wrong_use = isinstance(error, ConfigurationError | Rejected)
        sys.exit(EXIT_WRONG_USE if wrong_use else EXIT_FAILED)


def _sentence(error: CustomersError) -> str:
    match error:
        case Rejected(faults=faults):
            return "; ".join(fault.detail for fault in faults) + "."
        case Unavailable(detail=detail):
            return detail
        case _:
            return str(error)
