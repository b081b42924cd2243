"""`python -m benchmarks`: servers, a seeded read model, every row, and the report on stdout.

Invariant: stdout holds the report alone; progress is on stderr. Exit codes: 0 done, whatever the
figures say; 1 something failed; 2 wrong use, or a tool is missing.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from time import monotonic

import uvloop

from benchmarks import wrk
from benchmarks.backlog import Backlog
from benchmarks.exporting import measure_export
from benchmarks.figures import Figure
from benchmarks.intake import measure_intake
from benchmarks.overload import measure_overload
from benchmarks.pipeline import measure_pipeline
from benchmarks.postgres_server import ServerFailed, describe, empty_database
from benchmarks.processes import ProcessFailed, Service
from benchmarks.rebuild import measure_rebuild
from benchmarks.report import describe_machine, markdown, save
from benchmarks.seeding import seed, start_relay_at_head
from benchmarks.serving import GROUPS, measure_serving
from benchmarks.sizes import Sizes, sizes_for
from benchmarks.visibility import measure_visibility
from tests.servers.choice import look_around, order_kafka
from tests.servers.kafka import start_kafka
from tests.servers.server import ServerUnavailable

PARTS = (*GROUPS, "pipeline", "visible", "overload", "rebuild", "intake", "export")
SCOPES = "customers:read,customers:write"
DELIVERIES = ("exactly-once", "at-least-once")
EXIT_FAILED = 1
EXIT_WRONG_USE = 2


def main() -> None:
    arguments = _arguments()
    if not wrk.is_installed():
        print(wrk.HINT, file=sys.stderr)
        sys.exit(EXIT_WRONG_USE)
    sizes = sizes_for(arguments.size, arguments.seconds)
    wanted = arguments.only or PARTS
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_run(sizes, wanted, arguments.delivery, is_saved=arguments.save))
    except (ProcessFailed, ServerFailed, ServerUnavailable, wrk.LoadFailed) as error:
        print(error, file=sys.stderr)
        sys.exit(EXIT_FAILED)


async def _run(
    sizes: Sizes, wanted: Sequence[str], delivery: str | None, *, is_saved: bool
) -> None:
    tell = _teller()
    folder = Path(tempfile.mkdtemp(prefix="customers-benchmark-"))
    async with AsyncExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        database_url = await stack.enter_async_context(empty_database())
        here = look_around()
        kafka = await start_kafka(here, order_kafka(here))
        stack.push_async_callback(kafka.stop)
        postgres = await describe(database_url)
        tell(f"PostgreSQL {postgres}; {kafka.server.kind}")
        service = Service(
            folder, database_url, kafka.server.address, kafka.server.real_kafka, delivery
        )
        figures = await _measure(service, sizes, wanted, tell)
        command = f"python -m benchmarks {' '.join(sys.argv[1:])}".strip()
        machine = describe_machine(postgres, kafka.server.kind, command)
    print(markdown(machine, sizes.customers, figures), end="")
    if is_saved:
        tell(f"saved as {save(machine, sizes.customers, delivery, figures)}")


async def _measure(
    service: Service, sizes: Sizes, wanted: Sequence[str], tell: Callable[[str], None]
) -> list[Figure]:
    service.command("migrate")
    token = service.command("token", "create", "--tenant", "default", "--scopes", SCOPES)
    seeded = await seed(service.database_url, sizes.customers, sizes.ids)
    await start_relay_at_head(service.database_url, service.bootstrap_servers)
    tell(f"{sizes.customers:,} customers are in the read model")
    figures: list[Figure] = []
    if set(wanted) & set(GROUPS):
        figures += await measure_serving(service, token, seeded, sizes, wanted, tell)
    if "pipeline" in wanted:
        backlog = Backlog(service, token, seeded.position, sizes, tell)
        figures += await measure_pipeline(service, backlog, tell)
    if "visible" in wanted:
        figures += await measure_visibility(service, token, sizes.visible_seconds, tell)
    if "overload" in wanted:
        figures += await measure_overload(service, token, sizes.overload_seconds, tell)
    if "rebuild" in wanted:
        figures += await measure_rebuild(service, sizes.customers, tell)
    if "intake" in wanted:  # late: nobody has to publish or to show what it records
        figures += await measure_intake(service, seeded, sizes.intake_messages, tell)
    if "export" in wanted:  # last: what it puts into the log has no streams
        figures += await measure_export(service, sizes.export_events, tell)
    return figures


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--size", type=int, default=10_000, help="customers in the read model")
    parser.add_argument("--only", action="append", choices=PARTS, help="may be given repeatedly")
    parser.add_argument("--seconds", type=float, help="of load for each row")
    parser.add_argument("--delivery", choices=DELIVERIES, help="the relay's; default: its own")
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/SIZE.*")
    return parser.parse_args()


def _teller() -> Callable[[str], None]:
    started = monotonic()

    def tell(text: str) -> None:
        print(f"[{monotonic() - started:6.1f} s] {text}", file=sys.stderr, flush=True)

    return tell


if __name__ == "__main__":
    main()
