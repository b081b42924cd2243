"""JSON Schemas (2020-12) of our pydantic models, in the form that people and tools read best.

Invariant: they follow from the models alone and come out the same every time. What pydantic adds
for its own sake (titles made from names, unions where a list of types says it) is left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypeAlias

import orjson
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from service.upcasters import Json

JsonObject: TypeAlias = dict[str, Json]
Direction: TypeAlias = Literal["validation", "serialization"]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
COMPONENT_REFERENCE = "#/components/schemas/{model}"

_NAMED = frozenset({"properties", "patternProperties", "$defs"})  # their keys are names
_VERBATIM = frozenset({"const", "default", "enum", "examples", "required"})
_FIRST = ("description", "type", "properties", "required")  # then the rest, as it comes


def model_schemas(
    models: Iterable[type[BaseModel]],
    direction: Direction,
    reference: str = COMPONENT_REFERENCE,
) -> JsonObject:
    """The schema of each model and of what they are made of, by model name.

    `validation`: what is accepted. `serialization`: what is answered, where defaults mean nothing.
    """
    _, found = models_json_schema([(model, direction) for model in models], ref_template=reference)
    definitions: JsonObject = orjson.loads(orjson.dumps(found["$defs"]))
    dropped = {"title"} if direction == "validation" else {"title", "default"}
    return {name: _tidied(schema, dropped) for name, schema in sorted(definitions.items())}


def _tidied(schema: Json, dropped: set[str]) -> Json:
    if isinstance(schema, list):
        return [_tidied(each, dropped) for each in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {
        key: _tidied_value(key, value, dropped)
        for key, value in schema.items()
        if key not in dropped and not (key == "default" and value is None)
    }
    united = _without_union(kept)
    return {key: united[key] for key in _FIRST if key in united} | united


def _tidied_value(key: str, value: Json, dropped: set[str]) -> Json:
    if key in _VERBATIM:
        return value
    if key in _NAMED and isinstance(value, dict):
        return {name: _tidied(each, dropped) for name, each in value.items()}
    return _tidied(value, dropped)


def _without_union(schema: JsonObject) -> JsonObject:
    """`anyOf` of plain types as a list of types, whose other keywords bind one of them each."""
    options = schema.get("anyOf")
    if not isinstance(options, list):
        return schema
    types: list[Json] = []
    merged: JsonObject = {}
    for option in options:
        if not isinstance(option, dict) or "type" not in option or "enum" in option:
            return schema
        rest = {key: value for key, value in option.items() if key != "type"}
        if rest.keys() & merged.keys():
            return schema
        merged.update(rest)
        kind = option["type"]
        types += kind if isinstance(kind, list) else [kind]
    if "number" in types:
        types = [kind for kind in types if kind != "integer"]
    others = {key: value for key, value in schema.items() if key != "anyOf"}
    return {"type": types, **merged, **others}
