"""Whether the log is whole, and whether Kafka holds what the log says.

Invariants: the log is judged by what is stored, and Kafka by the log; nothing is asked of the parts
that write them. Nothing is written. Memory is bounded, however long the log is. Events that are on
their way are not missing.
"""

from service.verification.log import LogCompared, verify_log
from service.verification.states import verify_states
from service.verification.topic import verify_topic

__all__ = ["LogCompared", "verify_log", "verify_states", "verify_topic"]
