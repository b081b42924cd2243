"""The relay: publishes the log to Kafka, everything after the last published position, in order.

Invariants: progress is recorded with what Kafka has acknowledged, never before; one process
publishes at a time, whatever dies; what Kafka loses is published again from the log.
"""

from service.relay.at_least_once import AtLeastOnce
from service.relay.delivery import Delivery, Session
from service.relay.exactly_once import ExactlyOnce
from service.relay.lease import Lease, LeaseLost, Term
from service.relay.observing import NoMetrics, RelayMetrics, RelayStatus
from service.relay.published import Recorded, published_position, recorded_progress
from service.relay.relay import Relay
from service.relay.replay import Asked, Replayed, replay
from service.relay.standing import Batch, Standing

__all__ = [
    "Asked",
    "AtLeastOnce",
    "Batch",
    "Delivery",
    "ExactlyOnce",
    "Lease",
    "LeaseLost",
    "NoMetrics",
    "Recorded",
    "Relay",
    "RelayMetrics",
    "RelayStatus",
    "Replayed",
    "Session",
    "Standing",
    "Term",
    "published_position",
    "recorded_progress",
    "replay",
]
