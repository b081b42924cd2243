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
    watermark_record,
)
from service.kafka.config import KafkaConfig, Topic
from service.kafka.consumer import Consumer
from service.kafka.history import check_history
from service.kafka.partitioner import partition_for
from service.kafka.producer import Producer
from service.kafka.records import ConsumedRecord, Headers, Record
from service.kafka.shelf import Shelf
from service.kafka.tails import Tail, read_tails
from service.kafka.topic_check import TopicCheck
from service.kafka.topics import TopicDescription, Topics

__all__ = [
    "STATE_TYPE",
    "SWEEP_KEY",
    "SWEEP_TYPE",
    "WATERMARK_TYPE",
    "ConsumedRecord",
    "Consumer",
    "Headers",
    "KafkaConfig",
    "Producer",
    "ReceivedEvent",
    "Record",
    "Shelf",
    "State",
    "Tail",
    "Topic",
    "TopicCheck",
    "TopicDescription",
    "Topics",
    "Watermark",
    "check_history",
    "event_record",
    "partition_for",
    "read_tails",
    "received",
    "state_record",
    "sweep_record",
    "watermark_record",
]
