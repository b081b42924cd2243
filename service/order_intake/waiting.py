"""Which orders the intake has not taken in yet, for those who only look.

Invariant: the topic is compared with what the group has committed, which the broker keeps; no
intake is asked, and nothing is moved.
"""

from __future__ import annotations

from datetime import datetime

from service.errors import Unavailable
from service.kafka import KafkaConfig, Shelf, TopicDescription, Topics
from service.standing import Orders


def intake_group(config: KafkaConfig, topic: TopicDescription, epoch: str) -> str:
    """The name has the topic's id and the log's epoch: what was committed for another topic, or for
    a log that was set back since, is not trusted. The topic is read again."""
    return f"{config.topic_prefix}orders-intake-{topic.id}-{epoch}"


async def waiting_orders(config: KafkaConfig, epoch: str, now: datetime) -> Orders:
    """What lies beyond the committed offsets. Raises Unavailable."""
    name = config.orders_topic.name
    async with Topics.connect(config) as topics:
        found = await topics.describe(name)
    if found is None:
        raise Unavailable("broker_unavailable", f"There is no topic {name}: run migrate.")
    messages, oldest_ms = 0, now.timestamp() * 1_000
    async with Shelf.open(config, name, intake_group(config, found, epoch)) as shelf:
        for partition in range(found.partitions):
            committed = await shelf.bookmark(partition)
            ahead = await shelf.first_after(partition, committed)
            if ahead is not None:
                messages += ahead.places
                oldest_ms = min(oldest_ms, ahead.first.timestamp_ms)
    return Orders(messages, max(0.0, now.timestamp() - oldest_ms / 1_000))
