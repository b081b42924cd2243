"""Makes pages: values into templates.

Invariant: every value is escaped where a template puts it, by autoescaping that no template
switches off, and a name that a template uses but was not given is an error, not a blank.
"""

from __future__ import annotations

from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined

from service.console import formats
from service.console.changes import address_line
from service.console.charts import BAR_WIDTH, HEIGHT, Chart, chart
from service.console.customers import CustomerPage, FoundPage
from service.standing import STALLED_SECONDS, Overview

REFRESH_SECONDS = 10  # where somebody asks for a page that comes anew by itself


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who looks: a token, by its name or id, of a tenant, whose currency this is."""

    tenant: str
    name: str
    currency: str
    sees_customers: bool


@dataclass(frozen=True, slots=True)
class Problem:
    """What went wrong, in words; `request_id` leads to the logs."""

    status: int
    title: str
    detail: str
    request_id: str


class Pages:
    """Templates are read once. `root` is the path that the console is served under."""

    def __init__(self, root: str) -> None:
        self._environment = Environment(
            loader=PackageLoader("service.console"),
            autoescape=True,
            undefined=StrictUndefined,
            auto_reload=False,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters.update(
            number=formats.number,
            money=formats.money,
            reason=formats.reason,
            seconds=formats.seconds,
            moment=formats.moment,
            machine_time=formats.machine_time,
            clock=formats.clock,
            words=formats.words,
        )
        self._environment.globals.update(
            root=root,
            bar_width=BAR_WIDTH,
            chart_height=HEIGHT,
            stalled_seconds=round(STALLED_SECONDS),
            refresh_seconds=REFRESH_SECONDS,
        )

    def sign_in(self, problem: str | None = None) -> bytes:
        """`problem`: why the last try failed, or the session ended."""
        return self._page("sign_in.html", viewer=None, problem=problem)

    def overview(self, viewer: Viewer, seen: Overview, *, refreshes: bool) -> bytes:
        standing = seen.standing
        charts: dict[str, Chart] = {part.name: chart(standing.minutes, part) for part in seen.parts}
        partitions = sorted({number for part in seen.parts for number in part.partitions})
        return self._page(
            "overview.html",
            viewer=viewer,
            seen=seen,
            standing=standing,
            whole=chart(standing.minutes),
            charts=charts,
            partitions=partitions,
            refreshes=refreshes,
        )

    def customers(self, viewer: Viewer, found: FoundPage) -> bytes:
        return self._page("customers.html", viewer=viewer, found=found)

    def customer(self, viewer: Viewer, shown: CustomerPage) -> bytes:
        addresses = [
            address_line(each.model_dump(mode="json", by_alias=True))
            for each in shown.customer.addresses
        ]
        return self._page("customer.html", viewer=viewer, shown=shown, addresses=addresses)

    def problem(self, problem: Problem) -> bytes:
        """Whoever is told may be signed in or not: the page shows no more than a way back."""
        return self._page("problem.html", viewer=None, problem=problem)

    def _page(self, template: str, **values: object) -> bytes:
        return self._environment.get_template(template).render(values).encode()
