"""The JSON Schemas under /schemas/: one for every event type and version that is published.

Invariant: a published schema never changes; a new shape is a new version with a file of its own.
References inside are local, and `$id` is relative, so the files may be served from anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import orjson
from pydantic import BaseModel

from service.documents import CustomerDocument
from service.events import EVENT_TYPES, CustomerChanges, Event, encode
from service.http.event_examples import CUSTOMER_EXAMPLE, EVENT_EXAMPLES
from service.http.json_schemas import DIALECT, JsonObject, model_schemas

STATE_NAME = "customer.state.v1"
SWEEP_NAME = "customer.state_sweep.v1"
WATERMARK_NAME = "customer.watermark.v1"

_LOCAL_REFERENCE = "#/$defs/{model}"
_WATERMARK: JsonObject = {
    "description": "Nothing: the record's headers say up to which position all is published.",
    "type": "object",
    "maxProperties": 0,
    "examples": [{}],
}


def event_name(kind: type[Event]) -> str:
    """The type and version as one name: what `ce_type` says."""
    return f"{kind.type}.v{kind.schema_version}"


def schema_names() -> list[str]:
    """The names under which schemas are published."""
    return [*(event_name(kind) for kind in EVENT_TYPES), WATERMARK_NAME, STATE_NAME]


def whole_schemas(reference: str) -> JsonObject:
    """By model name, every published model; all of their fields are always there.

    Only the changes of an update name just what changed.
    """
    schemas = model_schemas((*EVENT_TYPES, CustomerDocument), "serialization", reference)
    for name, schema in schemas.items():
        assert isinstance(schema, dict)
        properties = schema.get("properties")
        if name == CustomerChanges.__name__:
            schema["minProperties"] = 1
        elif isinstance(properties, dict) and properties:
            schema["required"] = list(properties)
    return schemas


@cache
def published_schemas() -> Mapping[str, JsonObject]:
    """By name, such as `customer.created.v1`: the schema that describes itself."""
    schemas = whole_schemas(_LOCAL_REFERENCE)
    published = {
        event_name(kind): _published(event_name(kind), kind, schemas, encode(EVENT_EXAMPLES[kind]))
        for kind in EVENT_TYPES
    }
    published[WATERMARK_NAME] = _head(WATERMARK_NAME) | _WATERMARK
    published[STATE_NAME] = _published(
        STATE_NAME, CustomerDocument, schemas, CUSTOMER_EXAMPLE.json_bytes()
    )
    return published


def schema_index() -> JsonObject:
    """What /schemas/ answers."""
    return {
        "schemas": [
            {"name": name, "description": schema["description"], "href": f"{name}.json"}
            for name, schema in published_schemas().items()
        ]
    }


def _head(name: str) -> JsonObject:
    return {"$schema": DIALECT, "$id": f"{name}.json", "title": name}


def _published(
    name: str, model: type[BaseModel], schemas: JsonObject, example: str | bytes
) -> JsonObject:
    own = schemas[model.__name__]
    assert isinstance(own, dict)
    document: JsonObject = {**_head(name), **own, "examples": [orjson.loads(example)]}
    used = _used_definitions(own, schemas)
    return document | ({"$defs": {each: schemas[each] for each in sorted(used)}} if used else {})


def _used_definitions(schema: JsonObject, schemas: JsonObject) -> set[str]:
    """The names of all definitions that a schema leads to."""
    text = orjson.dumps(schema).decode()
    used = {name for name in schemas if f'"{_LOCAL_REFERENCE.format(model=name)}"' in text}
    for name in tuple(used):
        found = schemas[name]
        assert isinstance(found, dict)
        used |= _used_definitions(found, schemas)
    return used
