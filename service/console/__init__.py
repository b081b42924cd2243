"""What the console looks like: pages of HTML from plain values; the only importer of jinja2.

Invariants: nothing here asks anybody anything, and whatever is shown was escaped by the templates,
which hold no script and no style; so a page shows what it was given and cannot run it.
"""

from service.console.assets import STATIC_FILES, StaticFile
from service.console.customers import CustomerPage, FoundPage, found_page
from service.console.history import EventsRead, OrdersRead, read_events, read_orders
from service.console.pages import Pages, Problem, Viewer

__all__ = [
    "STATIC_FILES",
    "CustomerPage",
    "EventsRead",
    "FoundPage",
    "OrdersRead",
    "Pages",
    "Problem",
    "StaticFile",
    "Viewer",
    "found_page",
    "read_events",
    "read_orders",
]
