"""The messages of the AsyncAPI document: headers, keys and payloads of every record.

Invariant: headers are CloudEvents attributes as `service.kafka` writes them; all of them are text,
and whole numbers are in decimal digits. Payloads are the published schemas of the event models.
"""

from __future__ import annotations

import orjson

from service.documents import CustomerDocument, timestamp_text
from service.events import EVENT_TYPES, Event, Order, encode
from service.http.event_examples import (
    CUSTOMER_EXAMPLE,
    CUSTOMER_ID,
    EVENT_EXAMPLES,
    EVENT_ID,
    TRACEPARENT,
    UPDATED_AT,
)
from service.http.event_schemas import (
    STATE_NAME,
    SWEEP_NAME,
    WATERMARK_NAME,
    event_name,
    whole_schemas,
)
from service.http.json_schemas import COMPONENT_REFERENCE, JsonObject, model_schemas
from service.upcasters import Json

BINDING_VERSION = "0.5.0"  # of AsyncAPI's Kafka bindings

_WHOLE_NUMBER = r"^(0|[1-9][0-9]*)$"
_EPOCH_EXAMPLE = "5f0c6a3e8d6b4c7f9e2a1b3c4d5e6f70"
_SHARED_HEADERS = (  # what they mean does not depend on what the record is about
    *("ce_specversion", "ce_source", "ce_type", "ce_subject", "ce_epoch", "ce_tenant"),
    "content-type",
)
_SWEEP_HEADERS = ("ce_specversion", "ce_source", "ce_type", "ce_time", "ce_epoch")
_KEY: JsonObject = {"type": "string", "description": "The customer's id."}


def messages() -> JsonObject:
    """Every message of every topic, by the name under which channels refer to it."""
    found: JsonObject = {
        message_name(event_name(kind)): _event_message(kind) for kind in EVENT_TYPES
    }
    found["customerWatermarkV1"] = _watermark_message()
    found["customerStateV1"] = {
        "name": STATE_NAME,
        "title": "The customer as it is now",
        "headers": _state_headers(),
        "payload": _component(CustomerDocument.__name__),
        "examples": [
            {
                "headers": _examples(_state_headers()),
                "payload": orjson.loads(CUSTOMER_EXAMPLE.json_bytes()),
            }
        ],
        "bindings": _keyed(_KEY),
    }
    found["customerTombstone"] = {
        "name": "tombstone",
        "title": "The customer was deleted",
        "headers": _state_headers(),
        "payload": {"type": "null", "description": "No value at all."},
        "bindings": _keyed(_KEY),
    }
    found["customerStateSweepV1"] = _sweep_message()
    found["order"] = _order_message()
    found["orderDeadLetter"] = _order_message() | {
        "name": "dead letter",
        "title": "An order message that could not be used",
        "headers": _dead_letter_headers(),
        "payload": {"description": "Whatever came, byte for byte."},
    }
    return found


def message_name(name: str) -> str:
    """`customer.address_added.v1` as `customerAddressAddedV1`."""
    first, *others = name.replace("_", ".").split(".")
    return first + "".join(word.capitalize() for word in others)


def _event_message(kind: type[Event]) -> JsonObject:
    example = EVENT_EXAMPLES[kind]
    name = event_name(kind)
    headers = _headers(name, is_watermark=False)
    return {
        "name": name,
        "title": (kind.__doc__ or "").splitlines()[0],
        "headers": headers,
        "payload": _component(kind.__name__),
        "examples": [{"headers": _examples(headers), "payload": orjson.loads(encode(example))}],
        "bindings": _keyed(_KEY),
    }


def _watermark_message() -> JsonObject:
    headers = _headers(WATERMARK_NAME, is_watermark=True)
    return {
        "name": WATERMARK_NAME,
        "title": "Everything up to ce_position is published, as far as this partition goes",
        "headers": headers,
        "payload": {"type": "object", "maxProperties": 0},
        "examples": [{"headers": _examples(headers), "payload": {}}],
    }


def _sweep_message() -> JsonObject:
    of_event = _headers(SWEEP_NAME, is_watermark=True)["properties"]
    assert isinstance(of_event, dict)
    properties: JsonObject = {
        **{name: of_event[name] for name in _SWEEP_HEADERS},
        "ce_id": _as_text(_text("Unique.", f"sweep-{_EPOCH_EXAMPLE}-3-1710000000000")),
    }
    return {
        "name": SWEEP_NAME,
        "title": "Nothing: it lets Kafka compact a quiet partition. Skip it",
        "headers": {"type": "object", "properties": properties, "required": list(properties)},
        "payload": {"type": "null", "description": "No value at all."},
        "bindings": _keyed({"const": "_sweep", "description": "No customer's id."}),
    }


def _state_headers() -> JsonObject:
    """What an event's record says too, and which state it is. A tombstone has the same."""
    of_event = _headers(STATE_NAME, is_watermark=False)["properties"]
    assert isinstance(of_event, dict)
    state_id = f"state-{_EPOCH_EXAMPLE}-{CUSTOMER_ID}-17"
    of_state: JsonObject = {
        "ce_id": _text("The same when this version is published again.", state_id),
        "ce_time": _text("When the last event happened.", timestamp_text(UPDATED_AT))
        | {"format": "date-time"},
        "ce_sequence": _number("The customer's version; a lower one is older: skip it.", 17),
        "ce_position": _number("The place of the last event in the log.", 4711),
    }
    properties = {name: of_event[name] for name in _SHARED_HEADERS} | {
        name: _as_text(schema) for name, schema in of_state.items()
    }
    return {"type": "object", "properties": properties, "required": list(properties)}


def _headers(type_name: str, *, is_watermark: bool) -> JsonObject:
    """The CloudEvents attributes; all are text, and whole numbers are in decimal digits."""
    everywhere: JsonObject = {
        "ce_specversion": {"const": "1.0"},
        "ce_id": _text("Unique; the same when the record is published again.", EVENT_ID),
        "ce_source": {"const": "/customers"},
        "ce_type": {"const": type_name},
        "ce_time": _text("When it happened.", timestamp_text(UPDATED_AT)) | {"format": "date-time"},
        "ce_position": _number("The place in the log.", 4711),
        "ce_previousposition": _number("Of the record before it in the partition; 0: none.", 4708),
        "ce_epoch": _text("Names the log that positions belong to.", _EPOCH_EXAMPLE),
        "content-type": {"const": "application/json"},
    }
    on_events: JsonObject = {
        "ce_subject": _text("The customer's id.", CUSTOMER_ID),
        "ce_sequence": _number("The customer's version: 1, 2, 3 … without a hole.", 17),
        "ce_tenant": _text("Whose customer it is.", "default"),
    }
    traceparent = _text("W3C Trace Context of the request, if it had any.", TRACEPARENT)
    forgotten: JsonObject = {
        "const": "true",
        "description": "Only where the customer was deleted since: personal fields are blank.",
    }
    damaged: JsonObject = {
        "const": "true",
        "description": "Only where the log holds the event and cannot open it: the data is empty.",
    }
    optional: JsonObject = {
        "ce_traceparent": traceparent,
        "ce_forgotten": forgotten,
        "ce_damaged": damaged,
    }
    required = everywhere if is_watermark else everywhere | on_events
    properties = required if is_watermark else required | optional
    return {
        "type": "object",
        "properties": {name: _as_text(schema) for name, schema in properties.items()},
        "required": list(required),
    }


def _text(description: str, example: str) -> JsonObject:
    return {"description": description, "examples": [example]}


def _number(description: str, example: int) -> JsonObject:
    return {**_text(description, str(example)), "pattern": _WHOLE_NUMBER}


def _as_text(schema: Json) -> JsonObject:
    assert isinstance(schema, dict)
    return {"type": "string", **schema}


def _examples(headers: JsonObject) -> JsonObject:
    """An example of a headers schema, out of the examples of its properties."""
    properties = headers["properties"]
    assert isinstance(properties, dict)
    return {name: _example(schema) for name, schema in properties.items()}


def _example(schema: Json) -> Json:
    assert isinstance(schema, dict)
    examples = schema.get("examples")
    return examples[0] if isinstance(examples, list) else schema["const"]


def _order_message() -> JsonObject:
    return {
        "name": "order",
        "title": "An order's present state",
        "payload": _component("OrderMessage"),
        "bindings": _keyed({"type": "string", "description": "The order's id."}),
    }


def _dead_letter_headers() -> JsonObject:
    said = {
        "dlq_reason": "Why, as a code.",
        "dlq_detail": "Why, for people.",
        "dlq_topic": "Where the message came from.",
        "dlq_partition": "Where the message came from.",
        "dlq_offset": "Where the message came from.",
        "dlq_time": "When it was set aside.",
        "dlq_timestamp": "The message's own timestamp, in milliseconds.",
    }
    properties: JsonObject = {
        name: {"type": "string", "description": text} for name, text in said.items()
    }
    return {"type": "object", "properties": properties, "required": list(said)}


def _keyed(schema: JsonObject) -> JsonObject:
    return {"kafka": {"key": schema, "bindingVersion": BINDING_VERSION}}


def _component(name: str) -> JsonObject:
    return {"$ref": f"#/components/schemas/{name}"}


def payload_schemas() -> JsonObject:
    """What the messages carry, by model name."""
    return whole_schemas(COMPONENT_REFERENCE) | {"OrderMessage": _order_schema()}


def _order_schema() -> JsonObject:
    """An order as the order service sends it: what we record of it, and whose it is."""
    order = model_schemas([Order], "validation")[Order.__name__]
    assert isinstance(order, dict)
    properties = order["properties"]
    assert isinstance(properties, dict)
    about: JsonObject = {
        "customerId": {
            "type": "string",
            "description": "A customer of ours; the same in every version of the order.",
        },
        "tenant": {
            "type": "string",
            "default": "default",
            "description": "Unless the extension `ce_tenant` or a header `tenant` says it.",
        },
    }
    return {
        "type": "object",
        "description": "The order as it is now, whole, as CloudEvent (binary or structured) or "
        "plain JSON. Repeats and any order of arrival lead to the same result.",
        "properties": {**properties, **about},
        "required": ["orderId", "orderVersion", "customerId", "status", "currency", "total"],
    }
