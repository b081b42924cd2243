"""Whether a topic and the log tell the same history, where they bear the same epoch.

Invariant: histories that have parted never meet again, so where the last event of a partition is
the log's, so is every one before it. What was published is in the log first; if another event lies
at its position, the log was set back and has been written to since.
"""

from __future__ import annotations

from collections.abc import Iterable

from service.errors import Corrupt
from service.event_log import EventLog
from service.kafka.cloudevents import ReceivedEvent, received
from service.kafka.tails import Tail


async def check_history(log: EventLog, epoch: str, tails: Iterable[Tail]) -> None:
    """Raises Corrupt. What lies beyond the log's end, or has another epoch, is judged elsewhere."""
    records = [tail.last_record for tail in tails if tail.last_record is not None]
    events = [each for record in records if isinstance(each := received(record), ReceivedEvent)]
    ids = await log.ids([event.position for event in events])
    for event in events:
        if event.epoch == epoch and ids.get(event.position, event.id) != event.id:
            raise Corrupt(
                f"Kafka holds another event at position {event.position} than the log: the log was"
                " set back, and written to since. Stop every role and run `customers log new-epoch`"
            )
