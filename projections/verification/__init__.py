"""Whether the read model, and the projections that were added, are what the log says, row by row.

Invariants: every row is compared at the version that it shows, in one snapshot with the log, so
that events on their way are no difference. Nothing is written. Memory is bounded by the events of
a page and the orders of so many customers.
"""

from projections.verification.added import verify_added
from projections.verification.walk import Compared, verify_read_model

__all__ = ["Compared", "verify_added", "verify_read_model"]
