"""AsyncAPI 3.0 of what goes out to Kafka and what comes in, generated from the event models.

Invariant: topics, headers and payloads here are those of `service.kafka` and of the models; tests
hold them together, because importing that package would load the Kafka client into the API.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from service.events import EVENT_TYPES
from service.http.asyncapi_messages import BINDING_VERSION, message_name, messages, payload_schemas
from service.http.event_schemas import event_name
from service.http.json_schemas import JsonObject

CONTRACT_VERSION = "1.0.0"  # of what is promised here, not of the release
EVENTS_TOPIC = "customer.events.v1"
STATE_TOPIC = "customer.state.v1"
ORDERS_TOPIC = "commerce.orders.v1"
DEAD_LETTERS_TOPIC = "commerce.orders.v1.dlq"
EVENTS_RETENTION_DAYS = 7

_DAY_MS = 86_400_000
_DESCRIPTION = (
    "CloudEvents 1.0 in Kafka's binary mode. A customer's events keep their order. Read with "
    "`isolation.level=read_committed`, and each comes once; on a broker without transactions a "
    "record may come twice, and `ce_position` tells so. `ce_previousposition` tells a loss. Skip "
    "types you do not know. Fields marked `x-personal` tell about a person. An installation may "
    "put a prefix before the topics' names and keep events for longer or shorter."
)


@cache
def asyncapi_document() -> JsonObject:
    """The whole document. Do not change what is returned: it is shared."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Customer events",
            "version": CONTRACT_VERSION,
            "description": _DESCRIPTION,
        },
        "defaultContentType": "application/json",
        "channels": _channels(),
        "operations": _operations(),
        "components": {"messages": messages(), "schemas": payload_schemas()},
    }


def _channels() -> JsonObject:
    events = [message_name(event_name(kind)) for kind in EVENT_TYPES]
    return {
        "customerEvents": _channel(
            EVENTS_TOPIC,
            "Everything that happened to customers, keyed by customer id.",
            [*events, "customerWatermarkV1"],
            {"cleanup.policy": ["delete"], "retention.ms": EVENTS_RETENTION_DAYS * _DAY_MS},
        ),
        "customerState": _channel(
            STATE_TOPIC,
            "Every customer as it is now, keyed by customer id; a tombstone once it is deleted."
            " Of two records of a customer the one with the higher `ce_sequence` is right."
            " Skip the records that let Kafka compact a quiet partition.",
            ["customerStateV1", "customerTombstone", "customerStateSweepV1"],
            {"cleanup.policy": ["compact"]},
        ),
        "orders": _channel(
            ORDERS_TOPIC,
            "The present state of orders, keyed by order id; written by the order service.",
            ["order"],
        ),
        "orderDeadLetters": _channel(
            DEAD_LETTERS_TOPIC,
            "Order messages that could not be used: key and value byte for byte.",
            ["orderDeadLetter"],
        ),
    }


def _channel(
    topic: str, description: str, messages: Iterable[str], settings: JsonObject | None = None
) -> JsonObject:
    binding: JsonObject = {"topic": topic, "bindingVersion": BINDING_VERSION}
    if settings is not None:
        binding["topicConfiguration"] = settings
    return {
        "address": topic,
        "description": description,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
        "bindings": {"kafka": binding},
    }


def _operations() -> JsonObject:
    return {
        "publishCustomerEvents": _operation("send", "customerEvents", "Publish what happened."),
        "publishCustomerState": _operation(
            "send", "customerState", "Publish how customers are now."
        ),
        "receiveOrders": _operation("receive", "orders", "Record orders of customers."),
        "publishOrderDeadLetters": _operation("send", "orderDeadLetters", "Set messages aside."),
    }


def _operation(action: str, channel: str, summary: str) -> JsonObject:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "summary": summary,
    }
