"""Topics: made with their settings where they are missing, checked and never changed where not.

Invariant: a topic's identity tells a topic from another of the same name that took its place, so
nobody has to trust an old offset on a new topic.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple, Protocol, TypedDict, cast
from uuid import UUID

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaConnectionError, for_code

from service.errors import ConfigurationError, Unavailable
from service.kafka.config import KafkaConfig, Topic
from service.kafka.link import (
    REQUEST_TIMEOUT_SECONDS,
    STOP_TIMEOUT_SECONDS,
    closing,
    link,
    our_errors,
)
from service.kafka.metadata import NO_ERROR, UNKNOWN_TOPIC, TopicMetadataRequest

CREATION_TIMEOUT_SECONDS = 15.0
POLL_SECONDS = 0.05
TOPIC_EXISTS = 36
TOPIC_REFUSED = 29  # by an access rule
DELETION_DISABLED = 73


class TopicDescription(NamedTuple):
    """A topic as it is. `id` is another one after the topic was deleted and made again."""

    name: str
    id: str
    partitions: int


# Names of Kafka's topic settings.
_CLEANUP = "cleanup.policy"
_RETENTION = "retention.ms"
_SEGMENT = "segment.ms"
_TIMESTAMP = "message.timestamp.type"
_COMPACTION_LAG = "max.compaction.lag.ms"  # also how old a segment gets that is appended to


class _TopicMetadata(NamedTuple):
    error_code: int
    name: str
    topic_id: bytes
    is_internal: bool
    partitions: Sequence[object]
    authorized_operations: int
    tags: object


class _Metadata(Protocol):
    topics: Sequence[_TopicMetadata]


class _Client(Protocol):
    async def bootstrap(self) -> None: ...
    async def close(self) -> None: ...
    def get_random_node(self) -> int | None: ...
    async def send(self, node_id: int | None, request: object) -> _Metadata: ...


class _Created(Protocol):
    topic_errors: Sequence[tuple[str, int, str | None]]


class _Entry(TypedDict):
    config_names: str
    config_value: str


class _Settings(TypedDict):
    error_code: int
    config_entries: Sequence[_Entry]


class _Deleted(Protocol):
    topic_error_codes: Sequence[tuple[str, int]]


class _Configs(Protocol):
    def to_object(self) -> Mapping[str, Sequence[_Settings]]: ...


class _Admin(Protocol):
    async def start(self) -> None: ...
    async def close(self) -> None: ...
    async def create_topics(self, new_topics: Sequence[object]) -> _Created: ...
    async def delete_topics(self, topics: Sequence[str]) -> _Deleted: ...
    async def describe_configs(self, resources: Sequence[object]) -> Sequence[_Configs]: ...


class Topics:
    """A link for asking about topics, and for making them."""

    def __init__(self, client: _Client, config: KafkaConfig) -> None:
        self._client = client
        self._config = config

    @classmethod
    @asynccontextmanager
    async def connect(cls, config: KafkaConfig) -> AsyncIterator[Topics]:
        """Raises Unavailable where no broker answers."""
        client = cast("_Client", AIOKafkaClient(**link(config)))
        async with closing(client.close, STOP_TIMEOUT_SECONDS):
            with our_errors():
                async with asyncio.timeout(REQUEST_TIMEOUT_SECONDS):
                    await client.bootstrap()
            yield cls(client, config)

    async def describe(self, name: str) -> TopicDescription | None:
        """The topic as it is now; None where there is none."""
        with our_errors():
            async with asyncio.timeout(REQUEST_TIMEOUT_SECONDS):
                node = self._client.get_random_node()
                metadata = await self._client.send(node, TopicMetadataRequest([name]))
        topic = _TopicMetadata(*metadata.topics[0])
        if topic.error_code == UNKNOWN_TOPIC:
            return None
        if topic.error_code == TOPIC_REFUSED:
            detail = f"Kafka's access rules refuse us Describe on topic {name}."
            raise Unavailable("broker_unavailable", detail)
        if topic.error_code != NO_ERROR:
            detail = f"Kafka answers error {topic.error_code} about topic {name}."
            raise Unavailable("broker_unavailable", detail)
        return TopicDescription(name, UUID(bytes=topic.topic_id).hex, len(topic.partitions))

    async def create_missing(self, topics: Sequence[Topic]) -> list[str]:
        """Make those that do not exist; their names. Safe to call from many processes at once."""
        missing = [topic for topic in topics if await self.describe(topic.name) is None]
        if not missing:
            return []
        async with _administration(self._config) as admin:
            with our_errors():
                async with asyncio.timeout(REQUEST_TIMEOUT_SECONDS):
                    answer = await admin.create_topics([self._new(topic) for topic in missing])
        for name, error_code, reason in answer.topic_errors:
            if error_code not in {NO_ERROR, TOPIC_EXISTS}:
                raise ConfigurationError(f"Kafka refuses to create topic {name}: {reason}")
        await self._wait_for(missing)
        return [topic.name for topic in missing]

    async def delete(self, name: str) -> None:
        """With all that it holds. Returns when the broker no longer knows it."""
        async with _administration(self._config) as admin:
            with our_errors():
                async with asyncio.timeout(REQUEST_TIMEOUT_SECONDS):
                    answer = await admin.delete_topics([name])
        for _, error_code in answer.topic_error_codes:
            if error_code not in {NO_ERROR, UNKNOWN_TOPIC}:
                raise Unavailable("broker_unavailable", _not_deleted(name, error_code))
        with our_errors():
            async with asyncio.timeout(CREATION_TIMEOUT_SECONDS):
                while await self.describe(name) is not None:  # noqa: ASYNC110 - theirs
                    await asyncio.sleep(POLL_SECONDS)

    async def faults(self, topics: Sequence[Topic]) -> list[str]:
        """A sentence for everything about our topics that is not as it would be created."""
        faults: list[str] = []
        for topic in topics:
            found = await self.describe(topic.name)
            if found is None:
                faults.append(f"topic {topic.name} is missing: run `customers migrate`")
            elif topic.is_ours:
                faults += _partition_faults(topic, found)
                settings = await self._settings(topic.name)
                faults += _refused(topic) if settings is None else _setting_faults(topic, settings)
        return faults

    def _new(self, topic: Topic) -> object:
        return NewTopic(
            topic.name,
            topic.partitions,
            self._config.replication_factor,
            topic_configs=_wanted_settings(topic),
        )

    async def _wait_for(self, topics: Sequence[Topic]) -> None:
        """A cluster answers for a new topic a moment after it was made."""
        with our_errors():
            async with asyncio.timeout(CREATION_TIMEOUT_SECONDS):
                for topic in topics:
                    while await self.describe(topic.name) is None:  # noqa: ASYNC110 - theirs
                        await asyncio.sleep(POLL_SECONDS)

    async def _settings(self, name: str) -> Mapping[str, str] | None:
        """Empty where the broker knows no settings, as the embedded one; None where it may not
        tell us. Raises Unavailable."""
        names = (_CLEANUP, _RETENTION, _COMPACTION_LAG, _SEGMENT, _TIMESTAMP)
        asked = dict.fromkeys(names)
        resource = ConfigResource(ConfigResourceType.TOPIC, name, asked)
        async with _administration(self._config) as admin:
            with our_errors():
                async with asyncio.timeout(REQUEST_TIMEOUT_SECONDS):
                    try:
                        answers = await admin.describe_configs([resource])
                    except KafkaConnectionError:
                        # The embedded broker hangs up on this question and answers the next one;
                        # a broker that is down does not.
                        await self.describe(name)
                        return {}
        return _told_settings(answers[0].to_object()["resources"][0])


@asynccontextmanager
async def _administration(config: KafkaConfig) -> AsyncIterator[_Admin]:
    admin = cast("_Admin", AIOKafkaAdminClient(**link(config)))
    async with closing(admin.close, STOP_TIMEOUT_SECONDS):
        with our_errors():
            async with asyncio.timeout(REQUEST_TIMEOUT_SECONDS):
                await admin.start()
        yield admin


def _told_settings(told: _Settings) -> Mapping[str, str] | None:
    """None where access rules refuse the answer. Raises Unavailable for any other error in it."""
    if told["error_code"] == TOPIC_REFUSED:
        return None
    if told["error_code"] != NO_ERROR:
        with our_errors():
            raise for_code(told["error_code"])
    return {entry["config_names"]: entry["config_value"] for entry in told["config_entries"]}


def _not_deleted(name: str, error_code: int) -> str:
    if error_code == TOPIC_REFUSED:
        return f"Kafka's access rules refuse us Delete on topic {name}."
    if error_code == DELETION_DISABLED:
        return "Kafka lets nobody delete topics, by its setting delete.topic.enable."
    return f"Kafka answers error {error_code} when topic {name} is to be deleted."


def _refused(topic: Topic) -> list[str]:
    refused = f"Kafka's access rules refuse us DescribeConfigs on topic {topic.name}"
    return [f"{refused}, so its settings are not checked: allow it"]


def _wanted_settings(topic: Topic) -> dict[str, str]:
    settings: dict[str, str] = {_CLEANUP: topic.cleanup}
    if topic.retention_seconds is not None:
        name = _COMPACTION_LAG if topic.cleanup == "compact" else _RETENTION
        settings[name] = str(topic.retention_seconds * 1_000)
    if topic.segment_seconds is not None:
        settings[_SEGMENT] = str(topic.segment_seconds * 1_000)
    if topic.is_stamped_on_arrival:
        settings[_TIMESTAMP] = "LogAppendTime"
    return settings


def _partition_faults(topic: Topic, found: TopicDescription) -> list[str]:
    if found.partitions == topic.partitions:
        return []
    has = f"topic {topic.name} has {found.partitions} partitions where {topic.partitions}"
    return [f"{has} are configured: configure what it has, for adding some breaks the order"]


def _setting_faults(topic: Topic, found: Mapping[str, str]) -> list[str]:
    wanted = _wanted_settings(topic)
    return [
        f"topic {topic.name} has {name}={found[name]}, not {value}: change one of them"
        for name, value in wanted.items()
        if name in found and found[name] != value
    ]
