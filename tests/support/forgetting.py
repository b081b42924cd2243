"""What is left of events once their customers are deleted."""

from __future__ import annotations

from collections.abc import Iterable

from service.events import CustomerDeleted, RecordedEvent, decode, encode
from service.vault import blanked


def as_kept(told: Iterable[RecordedEvent]) -> list[RecordedEvent]:
    """In order of position; what was personal is blank where the customer was deleted later on."""
    events = sorted(told, key=lambda event: event.position)
    gone = {each.customer_id for each in events if isinstance(each.event, CustomerDeleted)}
    return [_blank(each) if each.customer_id in gone else each for each in events]


def _blank(recorded: RecordedEvent) -> RecordedEvent:
    event = recorded.event
    blank = blanked(event.type, encode(event))
    if blank is None:
        return recorded
    left = decode(event.type, event.schema_version, blank)
    return recorded._replace(event=left, is_forgotten=True)
