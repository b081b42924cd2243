"""The border to Kafka: topics, producer, consumer, the shape of our records.

Invariant: only this package imports aiokafka. A broken link leaves it as Unavailable
("broker_unavailable"), whatever the client library threw, and a record's partition is ours to say.
"""

from service.kafka.cloudevents import (
    STATE_TYPE,
    SWEEP_KEY,
    SWEEP_TYPE,
    WATERMARK_TYPE,
    ReceivedEvent,
    State,
    Watermark,
    event_record,
    received,
    state_record,
    sweep_record,
    traceparent_in_record,
    watermark_record,
)
from service.kafka.config import KafkaConfig, Topic
from service.kafka.consumer import Consumer
from service.kafka.history import check_history
from service.kafka.partitioner import partition_for
from service.kafka.producer import Producer
from service.kafka.records import ConsumedRecord, Headers, Record
from service.kafka.sending import Slot
from service.kafka.shelf import Shelf
from service.kafka.side_by_side import SideBySide
from service.kafka.tails import Tail, is_written, read_tails
from service.kafka.topic_check import TopicCheck
from service.kafka.topics import TopicDescription, Topics
from service.kafka.transactional_producer import Fenced, TransactionalProducer

__all__ = [
    "STATE_TYPE",
    "SWEEP_KEY",
    "SWEEP_TYPE",
    "WATERMARK_TYPE",
    "ConsumedRecord",
    "Consumer",
    "Fenced",
    "Headers",
    "KafkaConfig",
    "Producer",
    "ReceivedEvent",
    "Record",
    "Shelf",
    "SideBySide",
    "Slot",
    "State",
    "Tail",
    "Topic",
    "TopicCheck",
    "TopicDescription",
    "Topics",
    "TransactionalProducer",
    "Watermark",
    "check_history",
    "event_record",
    "is_written",
    "partition_for",
    "read_tails",
    "received",
    "state_record",
    "sweep_record",
    "traceparent_in_record",
    "watermark_record",
]
