"""Where publishing stands, from all that tells: two records of progress, the topic, and the log.

Invariant: progress is recorded in Kafka, within the transaction that makes it true, or in Postgres,
after the acknowledgements; the delivery at work says which. Whoever looks takes the later one of
both, so that the delivery may be changed, and the topic itself is asked in any case.
"""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, ValidationError

from service.errors import Corrupt, Unavailable
from service.event_log import EventLog
from service.kafka import (
    ConsumedRecord,
    KafkaConfig,
    Record,
    Topic,
    TopicDescription,
    Topics,
    check_history,
    read_tails,
)
from service.postgres import Postgres
from service.relay.lease import LEASE_SECONDS, SQL, LeaseLost, Term
from service.relay.standing import Progress, Standing, newest, resume


class _Stored(BaseModel):
    """Progress as it lies in Kafka. Names that a later release adds are ignored."""

    model_config = ConfigDict(frozen=True)

    topic_id: str
    epoch: str
    position: int
    tails: list[int]


def progress_record(topic: TopicDescription, standing: Standing, now: datetime) -> Record:
    """Its key is the topic whose progress it is, so compaction keeps the last one."""
    stored = _Stored(
        topic_id=topic.id,
        epoch=standing.epoch,
        position=standing.position,
        tails=list(standing.tails),
    )
    value = stored.model_dump_json().encode()
    return Record(topic.name.encode(), value, [], round(now.timestamp() * 1_000))


def read_record(record: ConsumedRecord) -> Progress:
    """Raises Corrupt."""
    try:
        stored = _Stored.model_validate_json(record.value or b"")
    except ValidationError as error:
        raise Corrupt(
            f"topic {record.topic} holds a record that is not the relay's: delete the topic and run"
            " `customers migrate`; nothing is lost by that"
        ) from error
    return Progress(stored.topic_id, stored.epoch, stored.position, stored.tails)


async def found_topic(topics: Topics, topic: Topic) -> TopicDescription:
    found = await topics.describe(topic.name)
    if found is None:
        raise missing_topic(topic.name)
    return found


def missing_topic(name: str) -> Unavailable:
    detail = f"Topic {name} is missing: run `customers migrate`."
    return Unavailable("broker_unavailable", detail)


async def find_standing(
    postgres: Postgres,
    config: KafkaConfig,
    topics: Topics,
    topic: TopicDescription,
    *,
    awaits_open: bool,
) -> Standing:
    """Where publishing to the topic stands. Raises as `resume` does, and Unavailable.

    `awaits_open` waits for transactions to end, as whoever is going to publish must.
    """
    # Invariant: what is recorded is in the topic, and what is in the topic is in the log; so each
    # is read before what must hold it, or a relay that publishes meanwhile would look like a loss.
    in_postgres = await postgres.fetch_one(Progress, SQL["progress"], topic.name)
    in_kafka = await _in_kafka(config, topics, awaits_open=awaits_open)
    found = await read_tails(config, topic.name, topic.partitions, awaits_open=awaits_open)
    log = EventLog(postgres)
    head = await log.head()
    await check_history(log, head.epoch, found)
    retention_seconds = float(config.events_retention_seconds)
    oldest = await log.last_older_than(retention_seconds)
    recorded = newest(topic.id, (in_postgres, in_kafka))
    return resume(head, topic.id, found, recorded, oldest)


async def _in_kafka(config: KafkaConfig, topics: Topics, *, awaits_open: bool) -> Progress | None:
    name = config.progress_topic.name
    if await topics.describe(name) is None:
        return None
    tail, *_ = await read_tails(config, name, 1, awaits_open=awaits_open)
    return None if tail.last_record is None else read_record(tail.last_record)


class ProgressTable:
    """How far one holder of the lease has come; written only while it still holds it."""

    def __init__(self, postgres: Postgres, term: Term, topic_id: str) -> None:
        self._postgres = postgres
        self._term = term
        self._topic_id = topic_id

    async def record(self, standing: Standing) -> None:
        """Raises LeaseLost, and writes nothing, where somebody else has taken the lease."""
        recorded = await self._postgres.fetch_one(
            int,
            SQL["record_progress"],
            self._term.topic,
            self._term.generation,
            LEASE_SECONDS,
            self._topic_id,
            standing.epoch,
            standing.position,
            list(standing.tails),
        )
        if recorded is None:
            raise LeaseLost
