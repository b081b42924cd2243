"""`customers erase verify`: shows that a deleted customer is forgotten, or what is left."""

from __future__ import annotations

from datetime import UTC, datetime

from service.cli.connections import kafka_config, migrated_database, vault_of
from service.cli.output import Failed, Json, moment, print_json, say
from service.erasure import Report, deleted_at, look_in_database, look_in_topics, unclean_tables
from service.errors import NotFound
from service.event_log import EventLog
from service.identifiers import CustomerId
from service.settings import Settings

TABLE_SECONDS_MAX = 300.0  # some tables have no index by customer, and are read whole


async def verify_erasure(settings: Settings, customer_id: str, tenant: str) -> None:
    """Prints the report. Raises Failed where something readable is left, and stays."""
    vault = vault_of(settings)
    who = CustomerId(customer_id)
    async with migrated_database(settings, command_timeout_seconds=TABLE_SECONDS_MAX) as postgres:
        try:
            since = await deleted_at(postgres, tenant, who)
        except NotFound:
            raise Failed(f"The tenant {tenant} never had a customer {customer_id}.") from None
        findings = await look_in_database(postgres, EventLog(postgres, vault), tenant, who)
        unclean = [] if since is None else await unclean_tables(postgres, since)
    if settings.kafka_bootstrap_servers is None:
        say("CUSTOMERS_KAFKA_BOOTSTRAP_SERVERS is not set: topics were not looked at.")
    else:
        config = kafka_config(settings, settings.kafka_bootstrap_servers)
        findings += await look_in_topics(config, who)
    report = Report(customer_id, tenant, datetime.now(UTC), since, findings, unclean)
    print_json(_document(report, are_topics_checked=settings.kafka_bootstrap_servers is not None))
    _tell(report, are_topics_checked=settings.kafka_bootstrap_servers is not None)


def _document(report: Report, *, are_topics_checked: bool) -> Json:
    return {
        "customerId": report.customer_id,
        "tenant": report.tenant,
        "deletedAt": moment(report.deleted_at) or None,
        "forgotten": report.is_forgotten if are_topics_checked or report.left else None,
        "clearAt": moment(report.clear_at) or None,
        "topicsChecked": are_topics_checked,
        "places": [
            {
                "place": each.place,
                "held": each.held,
                "readable": each.readable,
                "clearAt": moment(each.clear_at) or None,
                "note": each.note,
            }
            for each in report.findings
        ],
        "notVacuumedSince": [*report.unclean],
    }


def _tell(report: Report, *, are_topics_checked: bool) -> None:
    for each in report.findings:
        if each.note is not None:
            say(f"{each.place}: {each.note}.")
    if report.deleted_at is None:
        raise Failed("The customer was not deleted.")
    if report.left:
        places = ", ".join(f"{each.place} ({each.readable})" for each in report.left)
        raise Failed(f"Something readable is left: {places}.")
    where = "" if are_topics_checked else " in the database"
    if report.going:
        places = ", ".join(each.place for each in report.going)
        gone_by = moment(report.clear_at)
        say(f"Nothing readable is left but in {places}, and that is gone by {gone_by}.")
    else:
        say(f"Nothing readable is left{where}.")
    if report.unclean:
        say(f"Dead rows may still lie in {', '.join(report.unclean)}: VACUUM takes them.")
