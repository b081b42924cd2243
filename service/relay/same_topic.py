"""Whether the topic that is published to is still the one that the session found.

Invariant: nobody goes on publishing to a topic that was made anew, or that has lost what was in it.
"""

from __future__ import annotations

from collections.abc import Mapping

from service.errors import Unavailable
from service.kafka import TopicDescription, Topics


class SameTopic:
    """One session's topic: by its identity, and by offsets, which only rise."""

    def __init__(self, topics: Topics, topic: TopicDescription) -> None:
        self._topics = topics
        self._topic = topic
        self._offsets: dict[int, int] = {}  # per partition, of the first record of the last batch

    async def check(self) -> None:
        """Raises Unavailable where it cannot be reached, is gone, or is another one."""
        found = await self._topics.describe(self._topic.name)
        if found is None or found.id != self._topic.id:
            detail = f"Topic {self._topic.name} was deleted or made again."
            raise Unavailable("broker_unavailable", detail)

    def expect_rising(self, offsets: Mapping[int, int]) -> None:
        """Raises Unavailable where a partition began anew under us: records before are lost."""
        for partition, offset in offsets.items():
            if offset <= self._offsets.get(partition, -1):
                detail = f"Topic {self._topic.name} has lost records."
                raise Unavailable("broker_unavailable", detail)
        self._offsets |= offsets
