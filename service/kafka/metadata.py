"""The one request that the client library lacks: a topic's identity (Kafka protocol, Metadata v12).

Source: the schemas of MetadataRequest and MetadataResponse in Apache Kafka. Known to brokers since
Kafka 3.1. Invariant: a topic that was deleted and made again has another identity.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)

API_KEY = 3
API_VERSION = 12
NO_ERROR = 0
UNKNOWN_TOPIC = 3
_NO_ID = bytes(16)
_NO_TAGS: dict[int, bytes] = {}
_UUID_BYTES = 16


class _Uuid:
    """Sixteen bytes, as they are."""

    @staticmethod
    def encode(value: bytes) -> bytes:
        return value

    @staticmethod
    def decode(data: BytesIO) -> bytes:
        return data.read(_UUID_BYTES)

    @staticmethod
    def repr(value: bytes) -> str:
        return repr(value)


class _MetadataResponse(Response):  # type: ignore[misc, no-any-unimported]
    API_KEY = API_KEY
    API_VERSION = API_VERSION
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", CompactString("utf-8")),
                ("port", Int32),
                ("rack", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", CompactString("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", CompactString("utf-8")),
                ("topic_id", _Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("in_sync_replicas", CompactArray(Int32)),
                        ("offline_replicas", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _MetadataRequestStruct(RequestStruct):  # type: ignore[misc, no-any-unimported]
    FLEXIBLE_VERSION = True
    API_KEY = API_KEY
    API_VERSION = API_VERSION
    RESPONSE_TYPE = _MetadataResponse
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(
                ("topic_id", _Uuid),
                ("name", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("allow_auto_topic_creation", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class TopicMetadataRequest(Request[_MetadataRequestStruct]):  # type: ignore[misc, no-any-unimported]
    """Asks what topics of these names are, and makes none."""

    API_KEY = API_KEY

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names

    def build(self, struct: type[_MetadataRequestStruct]) -> _MetadataRequestStruct:
        topics = [(_NO_ID, name, _NO_TAGS) for name in self._names]
        return struct(topics, False, False, _NO_TAGS)
