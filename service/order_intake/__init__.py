"""The intake: orders of the shop, from their Kafka topic into the log.

Invariants: an offset is committed after the database has committed, so nothing is lost; an order
is recorded only with a higher version than before, so nothing is counted twice, and no order of
messages changes the result. What cannot be taken in is put aside whole, and everything goes on.
"""

from service.order_intake.dead_letters import Redriven, redrive, waiting_letters
from service.order_intake.intake import Intake
from service.order_intake.message import REASONS, OrderMessage, Reason, Unusable, read_message
from service.order_intake.observing import IntakeMetrics, IntakeStatus, NoMetrics
from service.order_intake.recorder import Outcome, Recorder
from service.order_intake.waiting import waiting_orders

__all__ = [
    "REASONS",
    "Intake",
    "IntakeMetrics",
    "IntakeStatus",
    "NoMetrics",
    "OrderMessage",
    "Outcome",
    "Reason",
    "Recorder",
    "Redriven",
    "Unusable",
    "read_message",
    "redrive",
    "waiting_letters",
    "waiting_orders",
]
