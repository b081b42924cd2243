"""deploy/prometheus/alerts.yml, tried by Prometheus: silent while all is well, and each fires.

Invariant: a scenario says what is not as in HEALTHY, so what else the alert depends on is well. A
part that is frozen is one whose numbers stand still, or end, while the log goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from tests.deploy.compose_file import ROOT
from tests.deploy.prometheus import ALERTS_FILE, SCRAPE_FILE, check_expressions, promtool

NS = 'namespace="shop"'
BUILD = "customers_build_info"
LOG = f'customers_log_appended_position{{{NS},instance="api"}}'
KAFKA = f'customers_log_published_position{{{NS},instance="relay-1"}}'
LISTS = f'customers_projection_position{{{NS},projection="customers"}}'
STATES = f"customers_states_position{{{NS}}}"
ACTIVE = f'customers_relay_active{{{NS},instance="relay-1"}}'
HTTP = "customers_http_request_duration_seconds"
WAITING = f'customers_intake_lag_messages{{{NS},instance="intake-1"}}'
WAITING_TOO = f'customers_intake_lag_messages{{{NS},instance="intake-2"}}'  # of the same orders
TAKEN_IN = f'customers_intake_messages_total{{{NS},outcome="recorded"}}'
DEAD = f"customers_intake_oldest_dead_letter_seconds{{{NS}}}"
PARKED = f'customers_projection_parked{{{NS},projection="customers"}}'
HEALED = f'customers_projection_healed_events_total{{{NS},projection="customers"}}'
LISTS_LAG = f'customers_projection_lag_seconds{{{NS},projection="customers"}}'
ADDED = f'customers_projection_position{{{NS},projection="second_order_v1"}}'
ADDED_LAG = f'customers_projection_lag_seconds{{{NS},projection="second_order_v1"}}'
ADDED_HEALED = f'customers_projection_healed_events_total{{{NS},projection="second_order_v1"}}'
STATES_LAG = f"customers_states_lag_seconds{{{NS}}}"
GOOD = f'{HTTP}_count{{{NS},method="GET",route="/user",status="200"}}'
AVAILABLE = f'kube_deployment_status_replicas_available{{{NS},deployment="customers-api"}}'
UP = f'up{{job="customers",{NS},instance="relay-1"}}'


def build(role: str) -> str:
    return f'{BUILD}{{{NS},role="{role}"}}'


def bucket(le: str) -> str:
    return f'{HTTP}_bucket{{{NS},method="GET",route="/user",status="200",le="{le}"}}'


def failures(part: str, *labels: str) -> str:
    return f'customers_{part}_failures_total{{{",".join((NS, *labels))},code="broker_unavailable"}}'


# A sample every 15 s for 40 minutes: 10 events at a time; the standby's position is 0.
HEALTHY: Mapping[str, str] = {
    **{build(role): "1x160" for role in ("api", "relay", "projections", "intake")},
    UP: "1x160",
    AVAILABLE: "2x160",
    LOG: "1000+10x160",
    KAFKA: "990+10x160",
    f'customers_log_published_position{{{NS},instance="relay-2"}}': "0x160",
    LISTS: "985+10x160",
    STATES: "980+10x160",
    ACTIVE: "1x160",
    f'customers_relay_active{{{NS},instance="relay-2"}}': "0x160",
    LISTS_LAG: "0.2x160",
    STATES_LAG: "0.3x160",
    WAITING: "20x160",
    WAITING_TOO: "20x160",
    TAKEN_IN: "0+15x160",
    DEAD: "0x160",
    PARKED: "0x160",
    HEALED: "0x160",
    GOOD: "0+1000x160",
    f'{HTTP}_count{{{NS},method="GET",route="/user",status="500"}}': "3x160",
    bucket("0.1"): "0+995x160",
    bucket("1.0"): "0+1000x160",
    bucket("2.5"): "0+1000x160",
    bucket("+Inf"): "0+1000x160",
}
STEP = "15s"
AT = "30m"
GONE = "_x160"  # it tells nothing


@dataclass(frozen=True, slots=True)
class Scenario:
    """What happens, by series, and what the alert then says. `labels` beside those of the rule."""

    about: str
    alert: str
    says: str
    happens: Mapping[str, str]
    labels: Mapping[str, str] = field(default_factory=lambda: {"namespace": "shop"})

    def __str__(self) -> str:
        return f"{self.alert}: {self.about}"


def part(name: str) -> dict[str, str]:
    return {"namespace": "shop", "part": name}


STANDS_STILL = "1000+10x40 1400x120"  # after ten minutes
STOPS_TELLING = "1000+10x40 _x120"
LATE_RELAY = "Events of five minutes ago are not in Kafka."
LATE_LISTS = "Lists do not show events of five minutes ago."
LATE_STATES = "The topic of states does not follow events of five minutes ago."
NO_ORDERS = "Orders wait, and none was taken in for five minutes."
SCENARIOS = [
    Scenario(
        "all of it",
        "CustomersDown",
        "No process of the service tells anything.",
        {build(role): GONE for role in ("api", "relay", "projections", "intake")},
        {},
    ),
    *(
        Scenario(
            f"no {role}",
            "CustomersRoleMissing",
            f"Nothing of the role {role} answers.",
            {build(role): GONE},
            {"namespace": "shop", "role": role},
        )
        for role in ("api", "relay", "projections", "intake")
    ),
    Scenario(
        "a process hangs",
        "CustomersInstanceSilent",
        "relay-1 does not answer: it has died, hangs or is frozen.",
        {UP: "0x160"},
        {"namespace": "shop", "job": "customers", "instance": "relay-1"},
    ),
    Scenario(
        "no pod is ready",
        "CustomersRoleNotReady",
        "Of customers-api no pod is ready.",
        {AVAILABLE: "0x160"},
        {"namespace": "shop", "deployment": "customers-api"},
    ),
    Scenario("it stands still", "CustomersRelayStalled", LATE_RELAY, {KAFKA: STANDS_STILL}),
    Scenario("it tells nothing", "CustomersRelayStalled", LATE_RELAY, {KAFKA: GONE}),
    Scenario(
        "and the log has come to rest since",
        "CustomersRelayStalled",
        LATE_RELAY,
        {KAFKA: STANDS_STILL, LOG: "1000+10x60 1600x100"},
    ),
    Scenario("it stands still", "CustomersProjectionStalled", LATE_LISTS, {LISTS: STANDS_STILL}),
    Scenario("it stops telling", "CustomersProjectionStalled", LATE_LISTS, {LISTS: STOPS_TELLING}),
    Scenario(
        "it stands still",
        "CustomersAddedProjectionStalled",
        "The added projection second_order_v1 does not go on.",
        {ADDED: STANDS_STILL},
        {"namespace": "shop", "projection": "second_order_v1"},
    ),
    Scenario("it stands still", "CustomersStatesStalled", LATE_STATES, {STATES: STANDS_STILL}),
    Scenario("it stops telling", "CustomersStatesStalled", LATE_STATES, {STATES: STOPS_TELLING}),
    Scenario("it stands still", "CustomersIntakeStalled", NO_ORDERS, {TAKEN_IN: "15x160"}),
    Scenario("it never began", "CustomersIntakeStalled", NO_ORDERS, {TAKEN_IN: GONE}),
    Scenario(
        "both stand by",
        "CustomersNobodyPublishes",
        "All relays stand by, or cannot work.",
        {ACTIVE: "0x160"},
    ),
    Scenario(
        "both publish",
        "CustomersTwoPublish",
        "More than one relay says that it publishes, which should be impossible.",
        {f'customers_relay_active{{{NS},instance="relay-2"}}': "1x160"},
    ),
    *(
        Scenario(
            name,
            "CustomersBrokenOff",
            f"The {name} breaks off and tries again, for ten minutes now.",
            {failures(name, *labels): "0+1x160"},
            part(name),
        )
        for name, labels in (
            ("relay", ()),
            ("projection", ('projection="customers"',)),
            ("states", ()),
            ("intake", ()),
        )
    ),
    Scenario("45 s", "CustomersListsOld", "Lists are 45s behind.", {LISTS_LAG: "45x160"}),
    Scenario(
        "45 s", "CustomersStatesOld", "The topic of states is 45s behind.", {STATES_LAG: "45x160"}
    ),
    Scenario(
        "60,000, as both tell",
        "CustomersOrdersLate",
        "60000 order messages wait.",
        {WAITING: "60000x160", WAITING_TOO: "60000x160"},
    ),
    Scenario(
        "60,000, and one has just begun",
        "CustomersOrdersLate",
        "60000 order messages wait.",
        {WAITING: "60000x160", WAITING_TOO: "0x160"},
    ),
    Scenario(
        "one",
        "CustomersParked",
        "1 customers are parked: their rows stand still, and the log is fine.",
        {PARKED: "1x160"},
    ),
    Scenario(
        "for twenty minutes",
        "CustomersDeadLetters",
        "Orders were put aside 20m 0s ago and not put back.",
        {DEAD: "1200x160"},
    ),
    Scenario(
        "for four days",
        "CustomersDeadLettersOld",
        "Orders were put aside 4d 0h 0m 0s ago; Kafka drops them in the end.",
        {DEAD: "345600x160"},
    ),
    Scenario(
        "a wipe",
        "CustomersKafkaLackedEvents",
        "Events were not in Kafka and came from the log. Other subscribers may lack them.",
        {HEALED: "0x80 7x80"},
    ),
    Scenario(
        "a restore",
        "CustomersLogWentBack",
        "The log is shorter than it was: an older backup was restored.",
        {LOG: "1000+10x100 500+10x60"},
    ),
    Scenario(
        "two of a hundred",
        "CustomersApiErrors",
        "More than one of a hundred requests is answered 5xx.",
        {f'{HTTP}_count{{{NS},method="GET",route="/user",status="503"}}': "0+20x160"},
    ),
    Scenario(
        "the first one",
        "CustomersApiBug",
        "/events answered 500, which is a bug.",
        {f'{HTTP}_count{{{NS},method="GET",route="/events",status="500"}}': "_x110 1x50"},
        {"namespace": "shop", "route": "/events"},
    ),
    Scenario(
        "another one",
        "CustomersApiBug",
        "/user answered 500, which is a bug.",
        {f'{HTTP}_count{{{NS},method="GET",route="/user",status="500"}}': "3x110 4x50"},
        {"namespace": "shop", "route": "/user"},
    ),
    Scenario(
        "two of a hundred",
        "CustomersApiSlow",
        "One of a hundred requests takes 1.75s or longer.",
        {bucket("1.0"): "0+980x160", bucket("0.1"): "0+900x160"},
    ),
]
# Nothing of this may wake anybody.
CALM: Mapping[str, Mapping[str, str]] = {
    "all is well": {},
    "nothing is written": {
        LOG: "1000x160", KAFKA: "1000x160", LISTS: "1000x160", STATES: "1000x160",
        WAITING: "0x160", WAITING_TOO: "0x160", TAKEN_IN: "40x160", GOOD: "0x160",
    },
    "a standby has taken over": {
        KAFKA: "990+10x60 _x100",
        ACTIVE: "1x60 _x100",
        f'customers_log_published_position{{{NS},instance="relay-2"}}': "0x60 1590+10x100",
        f'customers_relay_active{{{NS},instance="relay-2"}}': "0x60 1x100",
    },
    "two intakes tell of the same orders": {WAITING: "30000x160", WAITING_TOO: "30000x160"},
    "a process was started and has not seen the log yet": {LOG: "1000+10x118 0x2 2200+10x40"},
    "everything is one process": {
        **{build(role): GONE for role in ("api", "relay", "projections", "intake")},
        build("up"): "1x160",
    },
    "a projection was added and is being built": {
        ADDED: "0+3x160", ADDED_LAG: "7776000x160", ADDED_HEALED: "0+3x160",
    },
    "an added projection has come to the end of a log at rest": {
        LOG: "1000x160", KAFKA: "1000x160", LISTS: "1000x160", STATES: "1000x160",
        ADDED: "1000x160",
    },
    "subscribers follow the feed for hours": {
        f'{HTTP}_bucket{{{NS},method="GET",route="{route}",status="200",le="{le}"}}': values
        for route in ("/events", "/v1/events")
        for le, values in (("2.5", "0x160"), ("+Inf", "0+100x160"))
    },
    "the log is empty": {LOG: "0x160", KAFKA: "0x160", LISTS: "0x160", STATES: "0x160"},
}  # fmt: skip


class Rule(BaseModel):
    alert: str
    expr: str
    labels: dict[str, str]
    annotations: dict[str, str]


def rules() -> dict[str, Rule]:
    (group,) = yaml.safe_load(ALERTS_FILE.read_text(encoding="utf-8"))["groups"]
    found = [Rule.model_validate(each) for each in group["rules"]]
    return {each.alert: each for each in found}


RULES = rules()


def run(folder: Path, happens: Mapping[str, str], expected: Mapping[str, list[object]]) -> None:
    """Prometheus' own unit test: in this world these alerts fire as is said, at AT."""
    series = [{"series": name, "values": values} for name, values in {**HEALTHY, **happens}.items()]
    asked = [
        {"eval_time": AT, "alertname": name, "exp_alerts": alerts}
        for name, alerts in expected.items()
    ]
    test = {"interval": STEP, "input_series": series, "alert_rule_test": asked}
    file = folder / "test.yml"
    file.write_text(
        yaml.safe_dump(
            {"rule_files": [str(ALERTS_FILE)], "evaluation_interval": STEP, "tests": [test]}
        )
    )
    promtool("test", "rules", str(file))


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_an_alert_fires(scenario: Scenario, tmp_path: Path) -> None:
    rule = RULES[scenario.alert]
    annotations = {"summary": scenario.says, "runbook": rule.annotations["runbook"]}
    fired = {"exp_labels": {**rule.labels, **scenario.labels}, "exp_annotations": annotations}
    run(tmp_path, scenario.happens, {scenario.alert: [fired]})


@pytest.mark.parametrize("about", CALM)
def test_nothing_fires_without_a_reason(about: str, tmp_path: Path) -> None:
    run(tmp_path, CALM[about], {alert: [] for alert in RULES})


def test_every_alert_has_a_scenario_and_asks_for_what_exists() -> None:
    assert {scenario.alert for scenario in SCENARIOS} == RULES.keys()
    check_expressions(rule.expr for rule in RULES.values())


def test_every_alert_says_how_bad_it_is_and_where_to_read_on() -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    headings = {
        line.lstrip("# ").lower().replace(",", "").replace(" ", "-")
        for line in text.splitlines()
        if line.startswith("#")
    }
    for rule in RULES.values():
        assert rule.labels["severity"] in {"warning", "critical"}
        path, _, anchor = rule.annotations["runbook"].partition("#")
        assert path == "docs/operations.md"
        assert anchor in headings, anchor
        assert f"\n| `{rule.alert}` |" in text, rule.alert


def test_what_prometheus_scrapes_is_configured_as_it_reads_it(tmp_path: Path) -> None:
    """Debian's Prometheus cannot ask Kubernetes for pods, so the rest is checked."""
    config = yaml.safe_load(SCRAPE_FILE.read_text(encoding="utf-8"))
    (job,) = config["scrape_configs"]
    assert job["job_name"] == "customers"
    assert job.pop("kubernetes_sd_configs") == [{"role": "pod"}]
    (tmp_path / "alerts.yml").write_text(ALERTS_FILE.read_text(encoding="utf-8"))
    (tmp_path / "scrape.yml").write_text(yaml.safe_dump(config))
    promtool("check", "config", str(tmp_path / "scrape.yml"))
