"""The OpenAPI 3.1 document, made from the route table: /openapi.json.

Invariant: it says nothing that the table and the models do not say, and comes out the same every
time. One set of paths stands for both places where they are served, `/` and `/v1`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import orjson
from pydantic import BaseModel

from service.http.answer_examples import answer_example, own_example
from service.http.customer_routes import CUSTOMER_ROUTES
from service.http.json_schemas import JsonObject, model_schemas
from service.http.openapi_components import (
    BEARER,
    RATE_LIMITS,
    RETRY_AFTER,
    WWW_AUTHENTICATE,
    X_REQUEST_ID,
    header_components,
    header_references,
    problem_answers,
    problem_examples,
    schema_components,
    security_schemes,
)
from service.http.openapi_links import links_from, path_parts
from service.http.routes import (
    IDEMPOTENCY_KEY,
    JSON,
    VERSION_PREFIX,
    Answer,
    Header,
    RequestBody,
    Route,
)
from service.upcasters import Json

CONTRACT_VERSION = "1.0.0"  # of what is promised here, not of the release

_PATH_PARAMETERS = {
    "customerId": ("The customer's id, opaque.", "cust_01j8z3k4m5n6p7q8r9s0t1v2w3"),
    "addressId": ("The address's id, opaque.", "addr_01j8z3k4m5n6p7q8r9s0t1v2w5"),
    "tag": ("The tag, in any case.", "vip"),
}
_TAGS = {
    "Customers": "Customers are buyers in a store.",
    "Addresses": "A customer with addresses has exactly one default.",
    "Tags": "Segment customers for targeted pricing and promotions.",
    "Orders": "What customers have ordered, and what of it counts.",
    "History": "What happened to customers, and all that is held about one.",
    "Feed": "The log of events, for analysts and subscribers.",
}
_DESCRIPTION = (
    "Manage customer accounts, profiles, addresses and segmentation. Times are RFC 3339 in UTC, "
    "money is in integer minor units, ids are opaque. Errors are RFC 9457 problem details with a "
    "stable `code` and every fault at once. `X-Request-Id` and W3C `traceparent` are taken from a "
    "request and given on. Send `Log-Epoch` back, and the answer is 412 `epoch_changed` where the "
    "log was restored since."
)
_QUERY_EXAMPLES: JsonObject = {
    "page": 1,
    "display": 20,
    "q": "jane doe",
    "tag": ["vip"],
    "since": "2024-03-10T08:00:00Z",
    "until": "2024-12-31T00:00:00Z",
    "updatedSince": "2024-06-15T14:22:00Z",
    "active": True,
    "email": "jane@example.com",
    "minSpent": 1_000,
    "maxSpent": 100_000,
    "minOrders": 1,
    "maxOrders": 100,
    "cursor": "bzRhYjI.k3Jx0Q",
    "minPosition": 1,
    "at": "2024-06-15T14:22:00Z",
    "version": 7,
    "after": 7,
    "limit": 1_000,
}
_HEADER_PATTERNS = {
    IDEMPOTENCY_KEY.name: r'^([!#-~][ -~]{0,254}|"[ -~]{1,510}")$',
}


@cache
def openapi_document(routes: tuple[Route, ...] = CUSTOMER_ROUTES) -> JsonObject:
    """The whole document. Do not change what is returned: it is shared."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Customer API",
            "version": CONTRACT_VERSION,
            "description": _DESCRIPTION,
        },
        "servers": [
            {"url": "/", "description": "The present version."},
            {"url": VERSION_PREFIX, "description": "The same, pinned to version 1."},
        ],
        "security": [{BEARER: []}],
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "paths": _paths(routes),
        "components": {
            "securitySchemes": security_schemes(),
            "schemas": schema_components(routes),
            "headers": header_components(_answered_headers(routes)),
            "examples": problem_examples(),
        },
    }


def _paths(routes: Sequence[Route]) -> JsonObject:
    paths: dict[str, Json] = {}
    for route in routes:
        operations = paths.setdefault(route.path, {})
        assert isinstance(operations, dict)
        operations[route.method.lower()] = _operation(route, links_from(route, routes))
    return paths


def _operation(route: Route, links: JsonObject) -> JsonObject:
    operation: JsonObject = {
        "operationId": route.operation_id,
        "tags": list(route.tags),
        "summary": route.summary,
        "description": route.description,
        "security": [{BEARER: [route.scope]}],
        "parameters": [
            *_path_parameters(route.path),
            *_query_parameters(route.query),
            *(_header_parameter(header) for header in route.headers),
        ],
        "responses": {
            **{str(answer.status): _answer(answer, links) for answer in route.answers},
            **problem_answers(route.all_problems),
        },
    }
    if route.body is not None:
        operation["requestBody"] = _request_body(route.body)
    return operation


def _path_parameters(path: str) -> list[Json]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": _PATH_PARAMETERS[name][0],
            "schema": {"type": "string", "minLength": 1},
            "example": _PATH_PARAMETERS[name][1],
        }
        for name in path_parts(path)
    ]


def _query_parameters(query: type[BaseModel]) -> list[Json]:
    schema = model_schemas([query], "validation")[query.__name__]
    assert isinstance(schema, dict)
    properties = schema.get("properties", {})
    assert isinstance(properties, dict)
    return [_query_parameter(name, each) for name, each in properties.items()]


def _query_parameter(name: str, schema: Json) -> Json:
    """In a query there is no null, only absence."""
    assert isinstance(schema, dict)
    own = schema.get("examples")
    shown = {key: schema[key] for key in schema if key not in ("description", "examples")}
    kinds = shown.get("type")
    if isinstance(kinds, list):
        left = [kind for kind in kinds if kind != "null"]
        shown["type"] = left[0] if len(left) == 1 else left
    if not shown.get("default"):
        shown.pop("default", None)
    return {
        "name": name,
        "in": "query",
        "description": schema.get("description", ""),
        "schema": shown,
        "example": own[0] if isinstance(own, list) else _QUERY_EXAMPLES[name],
    }


def _header_parameter(header: Header) -> Json:
    pattern = _HEADER_PATTERNS.get(header.name)
    return {
        "name": header.name,
        "in": "header",
        "description": header.description,
        "schema": {"type": "string", **({"pattern": pattern} if pattern else {})},
        "example": header.example,
    }


def _request_body(body: RequestBody) -> JsonObject:
    content: JsonObject = {
        "schema": {"$ref": f"#/components/schemas/{body.model.__name__}"},
        "example": own_example(body.model),
    }
    return {"required": True, "content": dict.fromkeys(body.media_types, content)}


def _answer(answer: Answer, links: JsonObject) -> JsonObject:
    headers = header_references((*answer.headers, X_REQUEST_ID, *RATE_LIMITS))
    described: JsonObject = {"description": answer.description, "headers": headers}
    if answer.model is not None:
        described["content"] = _content(answer.model, answer.line_media_types)
    if links:
        described["links"] = links
    return described


def _content(model: type[BaseModel], line_media_types: tuple[str, ...]) -> JsonObject:
    reference: JsonObject = {"$ref": f"#/components/schemas/{model.__name__}"}
    example = answer_example(model)
    if not line_media_types:
        return {JSON: {"schema": reference, "example": example}}
    lines: JsonObject = {
        "schema": {
            "type": "string",
            "description": "The schema is that of each line; in a stream, of each event's data.",
            "contentMediaType": JSON,
            "contentSchema": reference,
        },
        "example": orjson.dumps(example).decode(),
    }
    return dict.fromkeys(line_media_types, lines)


def _answered_headers(routes: Sequence[Route]) -> list[Header]:
    said = {header.name: header for route in routes for a in route.answers for header in a.headers}
    ours = (X_REQUEST_ID, RETRY_AFTER, WWW_AUTHENTICATE, *RATE_LIMITS)
    said |= {header.name: header for header in ours}
    return [said[name] for name in sorted(said)]
