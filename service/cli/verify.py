"""`customers verify`: compares the log, Kafka, the read model, and projections that were added.

Invariants: nothing is written, and the system may run meanwhile. What could not be looked at ends
the command as failed or as wrong use; it is never passed over as if nothing was found.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from time import monotonic
from typing import Final

from projections.derived import Derived, made_tables, table_of
from projections.verification import Compared, verify_added, verify_read_model
from projections.versions import active
from service.cli.connections import kafka_config, migrated_database, vault_of
from service.cli.derived import derived_modules
from service.cli.output import Failed, Json, print_json, print_table, say
from service.cli.progress import progress
from service.errors import ConfigurationError, Corrupt
from service.event_log import EventLog, Head
from service.findings import Finding, Findings, Progress
from service.kafka import KafkaConfig
from service.postgres import Postgres
from service.relay import published_position
from service.settings import Settings
from service.telemetry import configure_logging
from service.vault import Vault
from service.verification import LogCompared, verify_log, verify_states, verify_topic

STATEMENT_SECONDS_MAX = 300.0  # some statements go over a whole table
PARTS: Final = ("log", "kafka", "states", "read-model", "projections")
KAFKA_PARTS: Final = frozenset({"kafka", "states"})


@dataclass(slots=True)
class _Report:
    """What was looked at; None = it was not."""

    head: Head
    log: LogCompared | None = None
    published: int | None = None
    records: int | None = None
    states: int | None = None
    read_model: Compared | None = None
    added: dict[str, Compared] | None = None  # by the table's name
    left_out: Sequence[str] = ()  # tables that no module here makes


def chosen_parts(only: str | None, *, without_kafka: bool) -> frozenset[str]:
    """Raises ConfigurationError for a part that does not exist, and where nothing is left."""
    wanted = frozenset(PARTS if only is None else (each.strip() for each in only.split(",")))
    if unknown := wanted - set(PARTS):
        names = ", ".join(sorted(unknown))
        raise ConfigurationError(f"There is no part {names}: there are {', '.join(PARTS)}.")
    if without_kafka and only is not None and wanted & KAFKA_PARTS:
        raise ConfigurationError("--without-kafka contradicts --only with a part of Kafka.")
    return wanted - KAFKA_PARTS if without_kafka else wanted


async def verify(settings: Settings, parts: Collection[str], *, as_json: bool) -> None:
    """Prints the report. Raises Failed, once it is printed, where anything was found."""
    configure_logging("ERROR")  # what a finding says need not be logged as well
    settings.require_database_dsn()
    vault = vault_of(settings)
    modules = derived_modules(settings) if "projections" in parts else {}
    config = None
    if KAFKA_PARTS & set(parts):
        if settings.kafka_bootstrap_servers is None:
            raise ConfigurationError(
                "CUSTOMERS_KAFKA_BOOTSTRAP_SERVERS is not set: set it, or give --without-kafka."
            )
        config = kafka_config(settings, settings.kafka_bootstrap_servers)
    started, findings = monotonic(), Findings()
    async with migrated_database(
        settings, command_timeout_seconds=STATEMENT_SECONDS_MAX
    ) as postgres:
        report = _Report(await EventLog(postgres).head())
        with progress() as told:
            currency = settings.default_currency
            await _look(postgres, vault, config, parts, report, findings, told, currency)
            if "projections" in parts:
                await _look_at_added(postgres, vault, modules.values(), report, findings, told)
    seconds = monotonic() - started
    if as_json:
        print_json(_document(report, findings, parts, seconds))
    else:
        _tell(report, findings, seconds)
    if findings.total:
        raise Failed(f"Found {findings.total:,}: {_counted(findings)}.")
    say("Nothing found.")


async def _look(
    postgres: Postgres,
    vault: Vault,
    config: KafkaConfig | None,
    parts: Collection[str],
    report: _Report,
    findings: Findings,
    told: Progress,
    currency: str,
) -> None:
    if "log" in parts:
        report.log = await verify_log(postgres, vault, findings, told)
    if config is not None and "kafka" in parts:
        report.published = await _published(postgres, config, findings)
        report.records = await verify_topic(
            postgres, vault, config, report.published, findings, told
        )
    if "read-model" in parts:
        read = await active(postgres)
        report.read_model = await verify_read_model(
            postgres, vault, findings, told, projection=read, default_currency=currency
        )
    if config is not None and "states" in parts:
        report.states = await verify_states(postgres, config, findings, told)


async def _look_at_added(
    postgres: Postgres,
    vault: Vault,
    modules: Iterable[Derived],
    report: _Report,
    findings: Findings,
    told: Progress,
) -> None:
    """Those whose module is named and whose table is made; the other tables are named as such."""
    made = {table_of(each.projection) for each in await made_tables(postgres)}
    report.added = {
        each.table: await verify_added(postgres, vault, each, findings, told)
        for each in modules
        if each.table in made
    }
    report.left_out = sorted(made - report.added.keys())


async def _published(postgres: Postgres, config: KafkaConfig, findings: Findings) -> int:
    """Up to where the topic has, or had, everything; 0 where a relay would refuse to publish."""
    try:
        return await published_position(postgres, config)
    except (ConfigurationError, Corrupt) as error:
        findings.add(Finding("different", "kafka", f"no relay can publish: {error}"))
        return 0


def _document(report: _Report, findings: Findings, parts: Collection[str], seconds: float) -> Json:
    model = report.read_model
    return {
        "found": findings.total,
        "counts": _counts(findings),
        "findings": [_finding(each) for each in findings.listed],
        "parts": [each for each in PARTS if each in parts],
        "epoch": report.head.epoch,
        "head": report.head.position,
        "published": report.published,
        "eventsCompared": {
            "log": None if report.log is None else report.log.events,
            "kafka": report.records,
        },
        "customersCompared": {
            "log": None if report.log is None else report.log.customers,
            "states": report.states,
            "readModel": None if model is None else model.customers,
        },
        "archivedTo": None if report.log is None else report.log.archived_to,
        "customersLeftOut": None if model is None else model.archived,
        "customersBehind": None if model is None else model.behind,
        "customersParked": None if model is None else model.parked,
        "projections": None if report.added is None else _added(report.added),
        "leftOut": [*report.left_out],
        "seconds": round(seconds, 3),
    }


def _added(compared: Mapping[str, Compared]) -> Json:
    return {
        name: {
            "customers": each.customers,
            "leftOut": each.archived,
            "behind": each.behind,
            "parked": each.parked,
        }
        for name, each in compared.items()
    }


def _counts(findings: Findings) -> Json:
    counts: dict[str, Json] = {}
    for where in ("log", "kafka", "states", "read_model", "projections"):
        of_place: dict[str, Json] = {
            kind: count
            for (place, kind), count in sorted(findings.counts.items())
            if place == where
        }
        if of_place:
            counts[where] = of_place
    return counts


def _finding(finding: Finding) -> Json:
    fields: dict[str, str | int | None] = asdict(finding)
    names = {"customer_id": "customerId"}
    return {names.get(name, name): value for name, value in fields.items()}


def _tell(report: _Report, findings: Findings, seconds: float) -> None:
    rows = [[_place(each), each.kind, _whom(each), each.detail] for each in findings.listed]
    if rows:
        print_table(["WHERE", "KIND", "WHAT", "DETAIL"], rows)
    if findings.total > len(findings.listed):
        say(f"{len(findings.listed):,} of {findings.total:,} are listed.")
    said = [f"log up to position {report.head.position:,}"]
    if report.log is not None and report.log.archived_to:
        say(_left_out(report.log, report.read_model))
    if report.log is not None:
        said.append(f"{report.log.customers:,} streams")
    if report.records is not None:
        said.append(f"{report.records:,} events in Kafka")
    if report.states is not None:
        said.append(f"{report.states:,} states")
    if (model := report.read_model) is not None:
        said.append(f"{model.customers:,} customers of the read model, {model.behind:,} behind")
    for name, each in (report.added or {}).items():
        said.append(f"{each.customers:,} customers of {name}, {each.behind:,} behind")
    say(f"Compared in {seconds:.1f} s: {'; '.join(said)}.")
    if report.left_out:
        names = ", ".join(report.left_out)
        say(f"Left out, for CUSTOMERS_PROJECTION_MODULES names no module of it: {names}.")


def _left_out(log: LogCompared, model: Compared | None) -> str:
    """What nobody can look at while it is archived."""
    text = (
        f"Positions 1 to {log.archived_to:,} are archived: of {log.archived_customers:,} streams"
        " what is left was compared, and the states they go on from, but not which orders were"
        " accepted before"
    )
    if model is not None:
        text += f", and the read model's rows of {model.archived:,} customers were left out"
    return f"{text}."


def _place(finding: Finding) -> str:
    if finding.offset is None:
        return finding.where
    return f"{finding.where} {finding.partition}/{finding.offset}"


def _whom(finding: Finding) -> str:
    said: Sequence[str] = [
        *([] if finding.customer_id is None else [finding.customer_id]),
        *([] if finding.position is None else [f"position {finding.position}"]),
    ]
    return " ".join(said)


def _counted(findings: Findings) -> str:
    return ", ".join(
        f"{count:,} {kind} in {where}" for (where, kind), count in sorted(findings.counts.items())
    )
