"""Whether a topic that is being read is still the one it was.

Invariant: nobody goes on reading a topic that was made anew as if it were the old one. It may hold
just as many records as were read of the old one: then no offset is out of range, and nothing would
come until the next record.
"""

from __future__ import annotations

from time import monotonic

from service.errors import Unavailable
from service.kafka.topics import TopicDescription, Topics

CHECK_SECONDS = 1.5  # between looks


class TopicCheck:
    """Looks now and then, however often it is asked."""

    def __init__(self, topics: Topics, topic: TopicDescription) -> None:
        self._topics = topics
        self._topic = topic
        self._checked_at = monotonic()

    async def check(self) -> None:
        """Raises Unavailable where it is gone or another one."""
        if monotonic() - self._checked_at < CHECK_SECONDS:
            return
        found = await self._topics.describe(self._topic.name)
        if found is None or found.id != self._topic.id:
            detail = f"Topic {self._topic.name} was deleted or made again."
            raise Unavailable("broker_unavailable", detail)
        self._checked_at = monotonic()
