"""How to reach Kafka, and which topics there are. Composition roots fill this in from the settings.

Invariant: frozen, and no secret in its repr.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from service.errors import ConfigurationError

Cleanup: TypeAlias = Literal["delete", "compact"]

REQUEST_TIMEOUT_SECONDS = 5.0
EVENTS_PARTITIONS = 6
SEGMENT_SECONDS_MAX = 86_400
CLEANING_SECONDS = 3_600  # for the broker to get round to it; it looks every five minutes
SWEEPS_PER_RETENTION = 2
DEAD_LETTERS_RETENTION_SECONDS = 14 * 86_400
EVENTS_RETENTION_SECONDS = 7 * 24 * 3_600
ORDERS_PARTITIONS = 6
PROGRESS_RETENTION_SECONDS = 3_600  # of one that a later one replaces; some dozens a second come


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic with the settings it is created with. None = the broker's own default.

    `retention_seconds`: of a compacted topic, how long a record may stay that a later one replaces.
    """

    name: str
    partitions: int
    cleanup: Cleanup = "delete"
    retention_seconds: int | None = None
    is_ours: bool = True  # somebody else's topic is created where missing, but not judged
    is_stamped_on_arrival: bool = False  # or the age of old events would end them at once

    @property
    def segment_seconds(self) -> int | None:
        """Kafka removes whole segments, so a record outlives its retention by up to this."""
        if self.retention_seconds is None or self.cleanup == "compact":
            return None
        return min(self.retention_seconds, SEGMENT_SECONDS_MAX)

    @property
    def sweep_seconds(self) -> float:
        """How often something is to be appended to each partition of a compacted topic.

        Kafka never compacts the segment that it appends to, and begins another one only when it
        appends, where the one in use is older than `max.compaction.lag.ms` or `segment.ms`.
        """
        assert self.retention_seconds is not None, "ours have a retention"
        return self.retention_seconds / SWEEPS_PER_RETENTION

    @property
    def gone_after_seconds(self) -> float:
        """How old a record becomes that nobody keeps; of a compacted topic, once it is replaced."""
        assert self.retention_seconds is not None, "ours have a retention"
        until_closed = self.segment_seconds or self.sweep_seconds
        return self.retention_seconds + until_closed + CLEANING_SECONDS


@dataclass(frozen=True, slots=True)
class KafkaConfig:
    """Where the brokers are, how to prove who we are, and what our topics look like.

    How to prove it is in Kafka's own words, which the settings have checked; there is no mechanism
    where nothing has to be proved. `idempotence` off is for brokers that refuse idempotent
    producers, such as the embedded one.
    """

    bootstrap_servers: str
    client_id: str = "customers"
    security_protocol: str = "PLAINTEXT"
    sasl_mechanism: str | None = None
    sasl_username: str | None = None
    sasl_password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    idempotence: bool = True
    request_timeout_seconds: float = REQUEST_TIMEOUT_SECONDS
    topic_prefix: str = ""  # put before every name: lets installations share a cluster
    events_partitions: int = EVENTS_PARTITIONS
    events_retention_seconds: int = EVENTS_RETENTION_SECONDS
    replication_factor: int = 1

    @property
    def events_topic(self) -> Topic:
        return Topic(
            f"{self.topic_prefix}customer.events.v1",
            self.events_partitions,
            retention_seconds=self.events_retention_seconds,
        )

    @property
    def state_topic(self) -> Topic:
        name = f"{self.topic_prefix}customer.state.v1"
        return Topic(
            name,
            self.events_partitions,
            cleanup="compact",
            retention_seconds=self.events_retention_seconds,
        )

    @property
    def progress_topic(self) -> Topic:
        """How far the relay has come, written in the transactions that bring it there."""
        name = f"{self.topic_prefix}customer.relay.v1"
        return Topic(name, 1, cleanup="compact", retention_seconds=PROGRESS_RETENTION_SECONDS)

    @property
    def relay_transactional_id(self) -> str:
        """One for all relays of an installation, so that each fences the one before it."""
        return f"{self.topic_prefix}customer.relay"

    @property
    def orders_topic(self) -> Topic:
        name = f"{self.topic_prefix}commerce.orders.v1"
        return Topic(name, ORDERS_PARTITIONS, is_ours=False)

    @property
    def orders_dead_letter_topic(self) -> Topic:
        name = f"{self.topic_prefix}commerce.orders.v1.dlq"
        return Topic(name, 1, retention_seconds=DEAD_LETTERS_RETENTION_SECONDS)

    @property
    def topics(self) -> tuple[Topic, ...]:
        """Every topic the service reads or writes."""
        return (
            self.events_topic,
            self.state_topic,
            self.progress_topic,
            self.orders_topic,
            self.orders_dead_letter_topic,
        )

    def tls(self) -> ssl.SSLContext | None:
        """None where the link is not encrypted. Raises ConfigurationError for unusable files."""
        if self.security_protocol not in {"SSL", "SASL_SSL"}:
            return None
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            if self.certificate_file is not None:
                context.load_cert_chain(self.certificate_file, self.key_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(
                "a certificate or key file for Kafka cannot be used"
            ) from error
        return context
