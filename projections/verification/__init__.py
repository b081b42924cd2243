"""Whether the read model is what the log says, row by row.

Invariants: every row is compared at the version that it shows, in one snapshot with the log, so
that events on their way are no difference. Nothing is written. Memory is bounded by the events of
a page and the orders of so many customers.
"""

from projections.verification.walk import Compared, verify_read_model

__all__ = ["Compared", "verify_read_model"]
