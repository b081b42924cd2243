"""What the operations of the OpenAPI document share: schemas, headers, problems, security.

Invariant: schemas of bodies say what is accepted, those of answers what is given; both come from
the models. A field without words of its own means what it means in the customer document.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pydantic import BaseModel

from service.documents import CustomerDocument, CustomerItem
from service.events import Address
from service.http.answer_examples import problem_example
from service.http.answers import EventList
from service.http.json_schemas import JsonObject, model_schemas
from service.http.problem_kinds import (
    PROBLEM_JSON,
    PROBLEMS,
    RETRY_AFTER_CODES,
    Problem,
    ProblemCode,
)
from service.http.routes import Header, Route
from service.upcasters import Json

BEARER = "bearer"
X_REQUEST_ID = Header(
    "X-Request-Id", "Names the request in answers and logs.", "01921f3b5a7e7c1e9d2f4b6a8c0e1f23"
)
RETRY_AFTER = Header("Retry-After", "Seconds after which to try again.", "1")
RATE_LIMIT = Header(
    "RateLimit",
    "Where a rate limit is set: `r` more requests may come now, and more after `t` seconds.",
    '"default";r=99;t=1',
)
RATE_LIMIT_POLICY = Header(
    "RateLimit-Policy",
    "Where a rate limit is set: a token may make `q` requests in `w` seconds.",
    '"default";q=100;w=1',
)
RATE_LIMITS = (RATE_LIMIT, RATE_LIMIT_POLICY)
WWW_AUTHENTICATE = Header("WWW-Authenticate", "How to say who you are.", "Bearer")

_SCOPES = {
    "customers:read": "read customers",
    "customers:write": "create and change customers",
    "customers:erase": "delete customers for good, and export all that is known of one",
    "events:read": "read the log of events",
    "admin": "everything",
}
_WITH_CHALLENGE = (401, 403)  # RFC 6750 3
_UNKNOWN_CALLER = 401
_ALWAYS_OPTIONAL = {Problem.__name__}  # its members come where they say something
_AT_TIMES: Mapping[str, frozenset[str]] = {
    CustomerItem.__name__: frozenset({"stale"}),
    EventList.__name__: frozenset({"archivedTo"}),
}


def security_schemes() -> JsonObject:
    scopes = "; ".join(f"`{scope}`: {meaning}" for scope, meaning in _SCOPES.items())
    return {
        BEARER: {
            "type": "http",
            "scheme": "bearer",
            "description": f"The token decides the tenant; its scopes, what it may do: {scopes}.",
        }
    }


def header_components(headers: Iterable[Header]) -> JsonObject:
    return {
        header.name: {
            "description": header.description,
            "schema": {"type": "string"},
            "example": header.example,
        }
        for header in headers
    }


def schema_components(routes: Sequence[Route]) -> JsonObject:
    """Everything that bodies and answers are made of, by model name."""
    bodies = [(route.method, route.body.model) for route in routes if route.body is not None]
    created = {model for method, model in bodies if method == "POST"}
    patched = {model for _, model in bodies} - created
    answers = {answer.model for route in routes for answer in route.answers if answer.model}
    answered = _answered({Problem, CustomerDocument, Address, *answers})
    accepted = model_schemas(_by_name(created), "validation")
    accepted |= _without_defaults(model_schemas(_by_name(patched), "validation"))
    _ignored_last(accepted)
    for schema in (*accepted.values(), *answered.values()):
        _describe_like(schema, (answered[CustomerDocument.__name__], answered[Address.__name__]))
    assert accepted.keys().isdisjoint(answered), "one model is a body and an answer"
    return dict(sorted((accepted | answered).items()))


def _by_name(models: Iterable[type[BaseModel]]) -> list[type[BaseModel]]:
    return sorted(models, key=lambda model: model.__name__)


def _answered(models: set[type[BaseModel]]) -> JsonObject:
    """Every member is always there, but for those in `_AT_TIMES`; others may join, so readers skip
    what they do not know."""
    schemas = model_schemas(_by_name(models), "serialization")
    for name, schema in schemas.items():
        assert isinstance(schema, dict)
        schema.pop("additionalProperties", None)
        properties = schema.get("properties")
        if name not in _ALWAYS_OPTIONAL and isinstance(properties, dict):
            absent = _AT_TIMES.get(name, frozenset())
            schema["required"] = [each for each in properties if each not in absent]
    return schemas


def _without_defaults(schemas: JsonObject) -> JsonObject:
    """In a merge patch what is absent stays as it is."""
    for schema in schemas.values():
        for member in _properties(schema).values():
            assert isinstance(member, dict)
            member.pop("default", None)
    return schemas


def _ignored_last(schemas: JsonObject) -> None:
    """What is accepted only to be ignored has no type; it would bury what matters."""
    for schema in schemas.values():
        members = _properties(schema)
        for name in [name for name, member in members.items() if _is_untyped(member)]:
            members[name] = members.pop(name)


def _is_untyped(member: Json) -> bool:
    return isinstance(member, dict) and member.keys() <= {"description"}


def _describe_like(schema: Json, models: Sequence[Json]) -> None:
    for name, member in _properties(schema).items():
        assert isinstance(member, dict)
        for model in models:
            same = _properties(model).get(name)
            if isinstance(same, dict) and "description" in same:
                member.setdefault("description", same["description"])


def _properties(schema: Json) -> JsonObject:
    assert isinstance(schema, dict)
    properties = schema.get("properties", {})
    assert isinstance(properties, dict)
    return properties


def problem_examples() -> JsonObject:
    """One for every code, those that belong to no route included."""
    return {
        code: {"summary": title, "value": problem_example(code)}
        for code, (_, title) in PROBLEMS.items()
    }


def problem_answers(codes: Sequence[ProblemCode]) -> JsonObject:
    """By status: which of the codes it may have, with an example each."""
    by_status: dict[int, list[ProblemCode]] = {}
    for code in codes:
        by_status.setdefault(PROBLEMS[code][0], []).append(code)
    return {str(status): _problem_answer(status, found) for status, found in by_status.items()}


def _problem_answer(status: int, codes: Sequence[ProblemCode]) -> JsonObject:
    headers = [X_REQUEST_ID]
    if not RETRY_AFTER_CODES.isdisjoint(codes):
        headers.append(RETRY_AFTER)
    if status != _UNKNOWN_CALLER:
        headers.extend(RATE_LIMITS)
    if status in _WITH_CHALLENGE:
        headers.append(WWW_AUTHENTICATE)
    narrowed: JsonObject = {"status": {"const": status}, "code": {"enum": list(codes)}}
    return {
        "description": " ".join(f"`{code}`: {PROBLEMS[code][1]}" for code in codes),
        "headers": header_references(headers),
        "content": {
            PROBLEM_JSON: {
                "schema": {
                    "allOf": [{"$ref": "#/components/schemas/Problem"}, {"properties": narrowed}]
                },
                "examples": {code: {"$ref": f"#/components/examples/{code}"} for code in codes},
            }
        },
    }


def header_references(headers: Iterable[Header]) -> JsonObject:
    return {header.name: {"$ref": f"#/components/headers/{header.name}"} for header in headers}
