"""deploy/grafana/customers.json: every panel asks for what exists, as Prometheus takes it."""

from __future__ import annotations

from itertools import combinations, pairwise

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from tests.deploy.compose_file import ROOT
from tests.deploy.prometheus import check_expressions, unknown_names

DASHBOARD_FILE = ROOT / "deploy" / "grafana" / "customers.json"
WIDTH = 24  # of Grafana's grid
QUESTIONS = [
    "Is anything lost, late or left out?",
    "Which part, and how far?",
    "Is the API fast, and right?",
    "Orders",
    "Processes",
]


class _Part(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)


class Source(_Part):
    type: str
    uid: str


class Query(_Part):
    expr: str
    datasource: Source


class Place(_Part):
    x: int
    y: int
    w: int
    h: int

    def overlaps(self, other: Place) -> bool:
        return (
            self.x < other.x + other.w
            and other.x < self.x + self.w
            and self.y < other.y + other.h
            and other.y < self.y + self.h
        )


class Panel(_Part):
    id: int
    type: str
    title: str
    description: str = ""
    grid_pos: Place
    targets: list[Query] = []


class Dashboard(_Part):
    uid: str
    panels: list[Panel]


DASHBOARD = Dashboard.model_validate_json(DASHBOARD_FILE.read_bytes())
GRAPHS = [panel for panel in DASHBOARD.panels if panel.type != "row"]


def filled_in(expression: str) -> str:
    """With the values that Grafana would put there."""
    return expression.replace("$__rate_interval", "1m").replace("$namespace", ".*")


def test_every_panel_asks_for_what_exists() -> None:
    queries = [query for panel in GRAPHS for query in panel.targets]
    assert len(queries) > 30
    check_expressions(filled_in(query.expr) for query in queries)
    assert {(query.datasource.type, query.datasource.uid) for query in queries} == {
        ("prometheus", "${datasource}")
    }
    assert [query.expr for query in queries if 'namespace=~"$namespace"' not in query.expr] == []


def test_what_does_not_exist_would_be_found() -> None:
    assert unknown_names("max(customers_relay_lag)") == {"customers_relay_lag"}
    assert unknown_names('customers_relay_active{role="x"}') == {"customers_relay_active{role}"}
    assert unknown_names("sum by (reason) (rate(customers_relay_failures_total[1m]))") == {"reason"}


def test_the_rows_are_an_operators_questions_and_every_panel_says_what_it_shows() -> None:
    assert [panel.title for panel in DASHBOARD.panels if panel.type == "row"] == QUESTIONS
    assert [panel.title for panel in GRAPHS if not panel.description or not panel.targets] == []


def test_no_panel_hides_another() -> None:
    assert len({panel.id for panel in DASHBOARD.panels}) == len(DASHBOARD.panels)
    assert [
        panel.title for panel in DASHBOARD.panels if panel.grid_pos.x + panel.grid_pos.w > WIDTH
    ] == []
    places = [(panel.title, panel.grid_pos) for panel in DASHBOARD.panels]
    assert [(a, b) for (a, one), (b, two) in combinations(places, 2) if one.overlaps(two)] == []
    rows = [panel.grid_pos.y for panel in DASHBOARD.panels]
    assert all(above <= below for above, below in pairwise(rows))
