"""The AsyncAPI document and the event schemas say what is really sent."""

import re
import uuid
from collections.abc import Iterator

import orjson
import pytest
from jsonschema import Draft202012Validator
from pydantic import BaseModel

from service.documents import CustomerDocument
from service.event_log import StoredEvent
from service.events import EVENT_TYPES, PERSONAL, encode
from service.http.asyncapi import (
    DEAD_LETTERS_TOPIC,
    EVENTS_RETENTION_DAYS,
    EVENTS_TOPIC,
    ORDERS_TOPIC,
    STATE_TOPIC,
    asyncapi_document,
)
from service.http.event_examples import CREATED_AT, CUSTOMER_EXAMPLE, EVENT_EXAMPLES, TRACEPARENT
from service.http.event_schemas import (
    STATE_NAME,
    SWEEP_NAME,
    WATERMARK_NAME,
    event_name,
    published_schemas,
    schema_index,
)
from service.http.json_schemas import model_schemas
from service.kafka import (
    SWEEP_TYPE,
    WATERMARK_TYPE,
    KafkaConfig,
    Record,
    State,
    event_record,
    state_record,
    sweep_record,
    watermark_record,
)
from service.upcasters import Json

DOCUMENT: dict[str, Json] = asyncapi_document()
MESSAGES = DOCUMENT["components"]["messages"]
SCHEMAS = DOCUMENT["components"]["schemas"]


def references(value: Json) -> Iterator[str]:
    if isinstance(value, dict):
        for key, each in value.items():
            if key == "$ref":
                yield each
            else:
                yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)


def resolved(reference: str, document: Json) -> Json:
    for part in reference.removeprefix("#/").split("/"):
        document = document[part]
    return document


def validate(schema: Json, instance: Json) -> None:
    """Against a schema of the document, whose references lead into the document."""
    validator = Draft202012Validator(
        {**schema, "components": DOCUMENT["components"]},
        format_checker=Draft202012Validator.FORMAT_CHECKER,
    )
    validator.validate(instance)


def text_headers(record: Record) -> dict[str, str]:
    return {name: value.decode() for name, value in record.headers}


def message_of(type_name: str) -> dict[str, Json]:
    return next(message for message in MESSAGES.values() if message["name"] == type_name)


def test_every_reference_leads_somewhere() -> None:
    found = list(references(DOCUMENT))
    assert found
    assert all(resolved(reference, DOCUMENT) for reference in found)


def test_every_event_type_is_a_message_of_the_events_topic() -> None:
    channel = DOCUMENT["channels"]["customerEvents"]
    names = {resolved(each["$ref"], DOCUMENT)["name"] for each in channel["messages"].values()}
    assert names == {event_name(kind) for kind in EVENT_TYPES} | {WATERMARK_TYPE}


def test_topics_and_retention_are_those_of_kafka() -> None:
    kafka = KafkaConfig("unused")
    ours_alone = kafka.progress_topic
    topics = [topic.name for topic in kafka.topics if topic != ours_alone]
    assert topics == [EVENTS_TOPIC, STATE_TOPIC, ORDERS_TOPIC, DEAD_LETTERS_TOPIC]
    assert topics == [channel["address"] for channel in DOCUMENT["channels"].values()]
    assert kafka.events_retention_seconds == EVENTS_RETENTION_DAYS * 24 * 3_600


@pytest.mark.parametrize("name", MESSAGES)
def test_the_examples_of_a_message_are_valid(name: str) -> None:
    message = MESSAGES[name]
    for example in message.get("examples", []):
        validate(message["payload"], example["payload"])
        if "headers" in message:
            validate(message["headers"], example["headers"])


@pytest.mark.parametrize("kind", EVENT_TYPES)
@pytest.mark.parametrize("traceparent", [None, TRACEPARENT])
@pytest.mark.parametrize("is_forgotten", [False, True])
def test_the_record_of_an_event_is_as_described(
    kind: type, traceparent: str | None, is_forgotten: bool
) -> None:
    event = EVENT_EXAMPLES[kind]
    meta = "{}" if traceparent is None else f'{{"traceparent": "{traceparent}"}}'
    stored = StoredEvent(
        4711,
        uuid.UUID(int=7),
        "default",
        "cust_1",
        3,
        event.type,
        event.schema_version,
        encode(event),
        meta,
        CREATED_AT,
        is_forgotten,
    )
    record = event_record(stored, b"cust_1", 0, b"epoch")
    message = message_of(event_name(kind))
    validate(message["headers"], text_headers(record))
    assert text_headers(record).keys() <= message["headers"]["properties"].keys()
    assert record.value is not None
    validate(message["payload"], orjson.loads(record.value))


def test_a_watermark_record_is_as_described() -> None:
    record = watermark_record(3, 4711, 0, b"epoch", CREATED_AT)
    message = message_of(WATERMARK_NAME)
    validate(message["headers"], text_headers(record))
    assert text_headers(record).keys() == message["headers"]["properties"].keys()
    assert record.value is not None
    validate(message["payload"], orjson.loads(record.value))
    Draft202012Validator(published_schemas()[WATERMARK_NAME]).validate(orjson.loads(record.value))


@pytest.mark.parametrize("document", [CUSTOMER_EXAMPLE.json_bytes().decode(), None])
def test_the_record_of_a_state_is_as_described(document: str | None) -> None:
    state = State("cust_1", "default", 3, 4711, document, CREATED_AT)
    record = state_record(state, b"cust_1", b"epoch")
    name = "customerTombstone" if document is None else "customerStateV1"
    validate(MESSAGES[name]["headers"], text_headers(record))
    assert text_headers(record).keys() == MESSAGES[name]["headers"]["properties"].keys()
    assert record.key == b"cust_1"
    validate(MESSAGES[name]["payload"], orjson.loads(record.value or b"null"))


def test_a_sweep_record_is_as_described() -> None:
    record = sweep_record(3, b"epoch", CREATED_AT)
    message = message_of(SWEEP_NAME)
    assert SWEEP_NAME == SWEEP_TYPE
    validate(message["headers"], text_headers(record))
    assert text_headers(record).keys() == message["headers"]["properties"].keys()
    assert record.key is not None
    validate(message["bindings"]["kafka"]["key"], record.key.decode())
    assert record.value is None


def test_every_topic_is_sent_to_or_received_from() -> None:
    channels = {
        resolved(operation["channel"]["$ref"], DOCUMENT)["address"]
        for operation in DOCUMENT["operations"].values()
    }
    assert channels == {channel["address"] for channel in DOCUMENT["channels"].values()}


def test_an_order_message_is_as_described() -> None:
    schema = {"$ref": "#/components/schemas/OrderMessage"}
    order = {"orderId": "o", "orderVersion": 1, "customerId": "cust_1", "status": "paid"}
    validate(schema, order | {"currency": "USD", "total": 45600})
    assert not Draft202012Validator({**schema, "components": DOCUMENT["components"]}).is_valid(
        order
    )


@pytest.mark.parametrize("name", published_schemas())
def test_a_published_schema_stands_on_its_own(name: str) -> None:
    schema = published_schemas()[name]
    Draft202012Validator.check_schema(schema)
    assert schema["$id"] == f"{name}.json"
    assert all(reference.startswith("#/$defs/") for reference in references(schema))
    for example in schema["examples"]:
        Draft202012Validator(schema).validate(example)


def test_the_index_lists_every_schema() -> None:
    listed = schema_index()["schemas"]
    assert [each["name"] for each in listed] == list(published_schemas())
    assert all(each["href"] == f"{each['name']}.json" and each["description"] for each in listed)


def test_an_update_names_only_what_changed_and_something_did() -> None:
    validator = Draft202012Validator(published_schemas()["customer.updated.v1"])
    assert validator.is_valid({"changes": {"phone": None}})
    assert not validator.is_valid({"changes": {}})
    assert not validator.is_valid({"changes": {"nickname": "J"}})


def test_the_state_is_the_customer_as_answered() -> None:
    validator = Draft202012Validator(published_schemas()[STATE_NAME])
    validator.validate(orjson.loads(CUSTOMER_EXAMPLE.json_bytes()))


def models() -> Iterator[type[BaseModel]]:
    """Every published model with those that its fields are made of."""
    waiting: list[type[BaseModel]] = [*EVENT_TYPES, CustomerDocument]
    seen: set[type[BaseModel]] = set()
    while waiting:
        model = waiting.pop()
        if model in seen:
            continue
        seen.add(model)
        yield model
        for field in model.model_fields.values():
            inner = getattr(field.annotation, "__args__", (field.annotation,))
            waiting += [
                each for each in inner if isinstance(each, type) and issubclass(each, BaseModel)
            ]


@pytest.mark.parametrize("model", list(models()))
def test_every_field_is_described_and_personal_ones_are_marked(model: type[BaseModel]) -> None:
    schema = model_schemas([model], "serialization")[model.__name__]
    assert schema["description"]
    for name, field in model.model_fields.items():
        shown = schema["properties"][field.alias]
        assert re.search(r"\.$", shown["description"]), f"{model.__name__}.{name}"
        assert shown.get("x-personal", False) is (PERSONAL in field.metadata)
