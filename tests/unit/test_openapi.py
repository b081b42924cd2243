"""The OpenAPI document is valid, complete, and says what the route table and the models say."""

from collections.abc import Iterator

import orjson
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from service.http.customer_routes import CUSTOMER_ROUTES
from service.http.event_examples import CUSTOMER_EXAMPLE
from service.http.models import AddressPatch, CustomerPatch
from service.http.openapi import openapi_document
from service.http.problem_kinds import PROBLEM_JSON, PROBLEMS, RETRY_AFTER_CODES
from service.http.routes import MERGE_PATCH_JSON, Route
from service.upcasters import Json

DOCUMENT: dict[str, Json] = openapi_document()


def resolved(value: Json) -> Json:
    """What a reference leads to; anything else as it is."""
    if isinstance(value, dict) and "$ref" in value:
        found: Json = DOCUMENT
        for part in value["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        return found
    return value


def operation_of(route: Route) -> dict[str, Json]:
    return DOCUMENT["paths"][route.path][route.method.lower()]


def operations() -> Iterator[tuple[str, dict[str, Json]]]:
    for path, item in DOCUMENT["paths"].items():
        for method, operation in item.items():
            yield f"{method} {path}", operation


def schemas_with_examples() -> Iterator[tuple[str, Json, Json]]:
    """Every example of the document, with the schema it stands for."""
    for name, operation in operations():
        for parameter in operation["parameters"]:
            yield f"{name} {parameter['name']}", parameter["schema"], parameter["example"]
        contents = [("body", operation.get("requestBody", {}))]
        contents += [(status, answer) for status, answer in operation["responses"].items()]
        for where, holder in contents:
            for media_type, media in holder.get("content", {}).items():
                examples = [each for each in [media.get("example")] if each is not None]
                examples += [resolved(each)["value"] for each in media.get("examples", {}).values()]
                assert examples, f"{name} {where} {media_type} has no example"
                for number, example in enumerate(examples):
                    yield f"{name} {where} {media_type} {number}", media["schema"], example
    for name, header in DOCUMENT["components"]["headers"].items():
        yield f"header {name}", header["schema"], header["example"]
    for name, schema in DOCUMENT["components"]["schemas"].items():
        for example in schema.get("examples", []):
            yield f"schema {name}", schema, example


def is_valid(schema: Json, instance: Json) -> bool:
    whole = {**schema, "components": DOCUMENT["components"]}
    checker = Draft202012Validator.FORMAT_CHECKER
    return Draft202012Validator(whole, format_checker=checker).is_valid(instance)


def test_the_document_is_valid() -> None:
    OpenAPIV31SpecValidator(orjson.loads(orjson.dumps(DOCUMENT))).validate()


def test_it_comes_out_the_same_every_time() -> None:
    once = orjson.dumps(openapi_document())
    openapi_document.cache_clear()
    assert orjson.dumps(openapi_document()) == once


@pytest.mark.parametrize(
    ("schema", "example"),
    [pytest.param(*each[1:], id=each[0]) for each in schemas_with_examples()],
)
def test_an_example_is_valid(schema: Json, example: Json) -> None:
    assert is_valid(schema, example)


@pytest.mark.parametrize("route", CUSTOMER_ROUTES, ids=lambda route: route.operation_id)
def test_a_route_is_described_whole(route: Route) -> None:
    operation = operation_of(route)
    assert operation["operationId"] == route.operation_id
    assert operation["summary"]
    assert operation["description"].endswith(".")
    assert operation["security"] == [{"bearer": [route.scope]}]
    named = {(each["in"], each["name"]) for each in operation["parameters"]}
    assert {name for place, name in named if place == "path"} == {
        part[1:-1] for part in route.path.split("/") if part.startswith("{")
    }
    assert {name for place, name in named if place == "header"} == {
        header.name for header in route.headers
    }
    assert {name for place, name in named if place == "query"} == {
        field.alias or name for name, field in route.query.model_fields.items()
    }
    assert all(each["description"] for each in operation["parameters"])


@pytest.mark.parametrize("route", CUSTOMER_ROUTES, ids=lambda route: route.operation_id)
def test_every_problem_of_a_route_is_listed_under_its_status(route: Route) -> None:
    responses = operation_of(route)["responses"]
    listed = {
        (code, int(status))
        for status, answer in responses.items()
        for code in answer.get("content", {}).get(PROBLEM_JSON, {}).get("examples", {})
    }
    assert listed == {(code, PROBLEMS[code][0]) for code in route.all_problems}
    for code in route.all_problems:
        headers = responses[str(PROBLEMS[code][0])]["headers"]
        assert "X-Request-Id" in headers
        assert code not in RETRY_AFTER_CODES or "Retry-After" in headers
        assert PROBLEMS[code][0] not in (401, 403) or "WWW-Authenticate" in headers
        assert (PROBLEMS[code][0] == 401) != ("RateLimit" in headers)


@pytest.mark.parametrize("route", CUSTOMER_ROUTES, ids=lambda route: route.operation_id)
def test_every_answer_of_a_route_is_listed_with_its_headers(route: Route) -> None:
    responses = operation_of(route)["responses"]
    for answer in route.answers:
        described = responses[str(answer.status)]
        assert described["headers"].keys() == {
            "X-Request-Id",
            "RateLimit",
            "RateLimit-Policy",
            *(header.name for header in answer.headers),
        }
        assert ("content" in described) == (answer.model is not None)


def test_operation_ids_are_unique() -> None:
    ids = [operation["operationId"] for _, operation in operations()]
    assert len(ids) == len(set(ids))


def test_every_problem_code_has_an_example_with_its_status() -> None:
    examples = DOCUMENT["components"]["examples"]
    assert examples.keys() == PROBLEMS.keys()
    for code, example in examples.items():
        assert example["value"]["status"] == PROBLEMS[code][0]
        assert example["value"]["code"] == code


def test_every_scope_is_explained() -> None:
    description = DOCUMENT["components"]["securitySchemes"]["bearer"]["description"]
    assert all(f"`{route.scope}`" in description for route in CUSTOMER_ROUTES)


def test_every_field_of_a_body_or_an_answer_is_described() -> None:
    undescribed = [
        f"{name}.{member}"
        for name, schema in DOCUMENT["components"]["schemas"].items()
        for member, value in schema.get("properties", {}).items()
        if not (value.get("description") or resolved(value).get("description"))
    ]
    assert undescribed == []


@pytest.mark.parametrize("model", [CustomerPatch, AddressPatch])
def test_a_merge_patch_has_no_defaults(model: type) -> None:
    schema = DOCUMENT["components"]["schemas"][model.__name__]
    assert "required" not in schema
    assert not any("default" in each for each in schema["properties"].values())


def test_bodies_come_in_both_media_types() -> None:
    for name, operation in operations():
        body = operation.get("requestBody")
        if body is not None:
            assert list(body["content"]) == ["application/json", MERGE_PATCH_JSON], name


def test_an_answered_customer_may_be_sent_back() -> None:
    document = orjson.loads(CUSTOMER_EXAMPLE.json_bytes())
    assert is_valid({"$ref": "#/components/schemas/CustomerDocument"}, document)
    assert is_valid({"$ref": "#/components/schemas/CustomerPatch"}, document)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"email": None},
        {"email": "jane@example.com", "nickname": "J"},
        {"email": "jane@example.com", "firstName": "x" * 257},
        {"email": "jane@example.com", "active": "yes"},
        {"email": "jane@example.com", "tags": ["a,b"]},
        {"email": "jane@example.com", "tags": [""]},
        {"email": "jane@example.com", "metadata": {"key": ["list"]}},
        {"email": "jane@example.com", "metadata": {"k" * 41: "value"}},
        {"email": "jane@example.com", "addresses": [{"line1": "1", "city": "Portland"}]},
    ],
)
def test_what_a_creation_refuses_the_schema_refuses(body: dict[str, Json]) -> None:
    assert not is_valid({"$ref": "#/components/schemas/CustomerBody"}, body)
