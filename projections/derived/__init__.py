"""Projections that are added to the product: one pure module and one table each.

Invariant: a module says only what an event does to a customer's row. Order, repeats, gaps, poison,
deletions and the checkpoint are kept here, the same for all: docs/projections.md.
"""

from projections.derived.applier import DerivedApplier
from projections.derived.feed import DerivedSource
from projections.derived.module import Derived, load_modules, table_of
from projections.derived.store import DerivedStore
from projections.derived.tables import Made, drop_version, made_tables, make_tables

__all__ = [
    "Derived",
    "DerivedApplier",
    "DerivedSource",
    "DerivedStore",
    "Made",
    "drop_version",
    "load_modules",
    "made_tables",
    "make_tables",
    "table_of",
]
