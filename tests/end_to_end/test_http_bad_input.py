"""Whatever a caller sends, the answer is a problem with every fault in it, and never a 500."""

from collections.abc import Mapping

import pytest
from multidict import CIMultiDict

from service.http.faults import FAULTS_MAX
from tests.support.api import Answer, Api

MARK = "s3cret-Value"
"""Stands where personal input would; it must not come back."""


def assert_problem(answer: Answer, status: int, code: str) -> None:
    assert (answer.status, answer.code) == (status, code), answer.body
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json
    assert problem["status"] == status
    assert problem["requestId"] == answer.headers["X-Request-Id"]
    assert problem.keys() >= {"type", "title", "detail", "instance"}


FIELD_FAULTS: list[tuple[object, dict[str, str]]] = [
    ({}, {"/email": "required"}),
    ({"email": None}, {"/email": "null_not_allowed"}),
    ({"email": 7}, {"/email": "invalid_type"}),
    ({"email": ["a@example.com"]}, {"/email": "invalid_type"}),
    *(
        ({"email": email}, {"/email": "invalid_email"})
        for email in (
            "", "plain", "@example.com", "a@", "a@b", "a b@example.com", "a@b..com", "a@-b.com",
            "x" * 65 + "@example.com", "é" * 33 + "@example.com",
            "a@example.com, b@example.com", "Jane <a@example.com>", "a@[127.0.0.1]",
"a@" + "b" * 250 + ".com", "a@example.c\x00m", "a\n@b.com",
        )
    ),
    ({"firstName": "x" * 257}, {"/firstName": "too_long"}),
    ({"firstName": 7}, {"/firstName": "invalid_type"}),
    ({"lastName": True}, {"/lastName": "invalid_type"}),
    ({"lastName": "a\x00b"}, {"/lastName": "invalid_characters"}),
    ({"phone": MARK}, {"/phone": "invalid_phone"}),
    ({"phone": "123"}, {"/phone": "invalid_phone"}),
    ({"phone": "1" * 51}, {"/phone": "too_long"}),
    ({"tags": "vip"}, {"/tags": "invalid_type"}),
    ({"tags": {"0": "vip"}}, {"/tags": "invalid_type"}),
    ({"tags": [str(number) for number in range(251)]}, {"/tags": "too_many"}),
    ({"tags": ["ok", "", 7]}, {"/tags/1": "blank", "/tags/2": "invalid_type"}),
    ({"metadata": []}, {"/metadata": "invalid_type"}),
    ({"metadata": "x"}, {"/metadata": "invalid_type"}),
    ({"metadata": {"a": {}, "b": [1], "c": 1}},
     {"/metadata/a": "invalid_type", "/metadata/b": "invalid_type"}),
    ({"metadata": {"a": "x" * 501}}, {"/metadata/a": "too_long"}),
    ({"metadata": {"x" * 41: 1}}, {"/metadata/" + "x" * 41: "too_long"}),
    ({"metadata": {"a\x00": 1, "b": "\x00"}},
     {"/metadata/…": "invalid_characters", "/metadata/b": "invalid_characters"}),
    ({"metadata": {"a/b~c": []}}, {"/metadata/a~1b~0c": "invalid_type"}),
    ({"metadata": {str(number): 1 for number in range(51)}}, {"/metadata": "too_many"}),
    ({"active": 1}, {"/active": "invalid_type"}),
    ({"active": "true"}, {"/active": "invalid_type"}),
    ({"active": None}, {"/active": "null_not_allowed"}),
    ({"addresses": [7]}, {"/addresses/0": "invalid_type"}),
    ({"addresses": [{"line1": "a", "city": "b", "country": "D"}]},
     {"/addresses/0/country": "unknown_country"}),
    ({"addresses": [{"line1": "a", "city": "b", "country": "ß"}]},  # SS in capitals
     {"/addresses/0/country": "unknown_country"}),
    ({"addresses": [{"line1": "a", "city": "b", "country": "DE", "isDefault": None}]},
     {"/addresses/0/isDefault": "null_not_allowed"}),
    ({"nickname": "x", "first_name": "x"},
     {"/nickname": "unknown_field", "/first_name": "unknown_field"}),
    ({"x" * 5000: 1}, {"/…": "unknown_field"}),
    ({f"{MARK}@example.com": 1}, {"/…": "unknown_field"}),
    ({f"{MARK}%40example.com": 1}, {"/…": "unknown_field"}),
    ({"+1-555-0123": 1}, {"/…": "unknown_field"}),
    ({"metadata": {"4111111111111111": []}}, {"/metadata/…": "invalid_type"}),
    ({"metadata": {f"{MARK} of Jane": []}}, {"/metadata/…": "invalid_type"}),
]  # fmt: skip


async def test_every_fault_of_a_new_customer_is_named(shared_api: Api) -> None:
    for body, faults in FIELD_FAULTS:
        assert isinstance(body, dict)
        sent = body if "/email" in faults else {"email": "jane@example.com", **body}
        answer = await shared_api.post("/user", sent)
        assert_problem(answer, 422, "validation_failed")
        assert answer.fault_codes == faults
    assert (await shared_api.get("/user")).json["count"] == 0


async def test_all_faults_come_at_once(shared_api: Api) -> None:
    body = {
        "email": "no", "firstName": 1, "phone": MARK, "tags": ["", "a,b"], "metadata": {"a": []},
        "addresses": [{"line1": "", "country": "ZZ"}], "nickname": MARK,
    }  # fmt: skip
    answer = await shared_api.post("/user", body)
    assert answer.fault_codes == {
        "/email": "invalid_email", "/firstName": "invalid_type", "/phone": "invalid_phone",
        "/tags/0": "blank", "/tags/1": "invalid_characters", "/metadata/a": "invalid_type",
        "/addresses/0/line1": "blank", "/addresses/0/city": "required",
        "/addresses/0/country": "unknown_country", "/nickname": "unknown_field",
    }  # fmt: skip
    assert MARK not in answer.body.decode()


TOO_LONG_LISTS: list[tuple[str, str, dict[str, object], dict[str, str]]] = [
    ("POST", "/user", {"email": "a@example.com", "tags": [1] * 251}, {"/tags": "too_many"}),
    ("POST", "/user", {"email": "a@example.com", "addresses": [{}] * 101},
     {"/addresses": "too_many"}),
    ("PUT", "/user/x", {"tags": [1] * 251}, {"/tags": "too_many"}),
    ("PATCH", "/user/x", {"tags": [1] * 251}, {"/tags": "too_many"}),
    ("PATCH", "/user/x", {"addresses": [{"x": 1}] * 101}, {"/addresses": "use_address_endpoints"}),
    ("POST", "/user/x/tag", {"tags": [1] * 251}, {"/tags": "too_many"}),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "body", "faults"), TOO_LONG_LISTS)
async def test_elements_of_a_list_that_is_too_long_are_not_looked_at(
    shared_api: Api, method: str, path: str, body: object, faults: Mapping[str, str]
) -> None:
    answer = await shared_api.call(method, path, body)
    assert_problem(answer, 422, "validation_failed")
    assert answer.fault_codes == faults


@pytest.mark.parametrize(
    "many",
    [{str(number): 1 for number in range(20_000)},
     {"metadata": {str(number): [] for number in range(20_000)}}],
)  # fmt: skip
async def test_no_answer_names_more_than_a_hundred_faults(
    shared_api: Api, many: dict[str, object]
) -> None:
    answer = await shared_api.post("/user", {"email": "a@example.com", **many})
    assert_problem(answer, 422, "validation_failed")
    assert len(answer.fault_codes) == FAULTS_MAX


RAW_BODIES: list[tuple[bytes, int, str]] = [
    (b"", 400, "malformed_json"),
    (b"   ", 400, "malformed_json"),
    (b"nope", 400, "malformed_json"),
    (b'{"email": "a@example.com"', 400, "malformed_json"),
    (b"{'email': 1}", 400, "malformed_json"),
    (b'{"email": "a@example.com",}', 400, "malformed_json"),
    (b'{"email": "a@example.com"} x', 400, "malformed_json"),
    (b'{"email": "\xff@example.com"}', 400, "malformed_json"),
    (b'\xef\xbb\xbf{"email": "a@example.com"}', 400, "malformed_json"),
    ('{"email": "a@example.com"}'.encode("utf-16"), 400, "malformed_json"),
    (b"[" * 100_000, 400, "malformed_json"),
    (b'{"metadata": ' * 500 + b"1" + b"}" * 500, 400, "malformed_json"),
    (b'{"metadata": ' * 50 + b"1" + b"}" * 50, 422, "validation_failed"),
    (b"[]", 422, "validation_failed"),
    (b"null", 422, "validation_failed"),
    (b'"text"', 422, "validation_failed"),
    (b"7", 422, "validation_failed"),
    (b"NaN", 400, "malformed_json"),
    (b'{"email": "a@example.com", "id": NaN}', 400, "malformed_json"),
    (b'{"email": "a@example.com", "version": [-Infinity]}', 400, "malformed_json"),
    (b'{"email": "a@example.com", "metadata": {"a": NaN}}', 400, "malformed_json"),
]


@pytest.mark.parametrize(("body", "status", "code"), RAW_BODIES)
async def test_bodies_that_are_no_customer(
    shared_api: Api, body: bytes, status: int, code: str
) -> None:
    assert_problem(await shared_api.call("POST", "/user", body=body), status, code)


@pytest.mark.parametrize(
    ("member", "faults"),
    [
        (rb'"firstName": "\ud800"', {"/firstName": "invalid_characters"}),
        (rb'"firstName": "\uD83D\u0041"', {"/firstName": "invalid_characters"}),
        (rb'"firstName": "\udc00", "x": 1',
         {"/firstName": "invalid_characters", "/x": "unknown_field"}),
        (rb'"tags": ["\ud800"]', {"/tags/0": "invalid_characters"}),
        (rb'"metadata": {"\ud800": 1}', {"/metadata/…": "invalid_characters"}),
        (rb'"id": "\ud800"', {"": "invalid_characters"}),
        (rb'"metadata": {"a": 1e400}', {"/metadata/a": "out_of_range"}),
        (rb'"metadata": {"a": -1e400}', {"/metadata/a": "out_of_range"}),
        (b'"metadata": {"a": %d}' % 2**70, {"/metadata/a": "out_of_range"}),
        (b'"metadata": {"a": 1' + b"0" * 400 + b"}", {"/metadata/a": "out_of_range"}),
        (b'"metadata": {"a": -1' + b"0" * 400 + b"}", {"/metadata/a": "out_of_range"}),
        (b'"metadata": {"a": 1' + b"0" * 5000 + b"}", {"": "out_of_range"}),
        (b'"active": 1' + b"0" * 300, {"/active": "invalid_type"}),
    ],
)  # fmt: skip
async def test_what_cannot_be_stored(
    shared_api: Api, member: bytes, faults: Mapping[str, str]
) -> None:
    answer = await shared_api.call(
        "POST", "/user", body=b'{"email": "a@example.com", ' + member + b"}"
    )
    assert_problem(answer, 422, "validation_failed")
    assert answer.fault_codes == faults


@pytest.mark.parametrize(
    "body",
    [
        rb'{"email": "a@example.com", "firstName": "\ud83d\ude00 \\ud800"}',
        b'{"email": "x@example.com", "email": "a@example.com"}',
        b'{"email": "a@example.com", "version": 1e400, "id": {}, "createdAt": [[]]}',
        b' \r\n\t{"email": "a@example.com"}\n ',
        b'{"email": "a@example.com", "firstName": "NaN", "lastName": "-Infinity"}',
        '{"email": "a@example.com", "firstName": "Zoë \u2028 😀"}'.encode(),
    ],
)
async def test_odd_but_sound_bodies(api: Api, body: bytes) -> None:
    answer = await api.call("POST", "/user", body=body)
    assert (answer.status, answer.json["email"]) == (201, "a@example.com")


@pytest.mark.parametrize(
    "email",
    ["a@example.com", "A.B+c@Sub.Example.CO", "a_b-c@x1.io", "jane@example.test",
     "o'hara@example.com",
     "josé@example.com", "a@bücher.example", "x" * 64 + "@example.com"],
)  # fmt: skip
async def test_email_addresses_that_pass(api: Api, email: str) -> None:
    answer = await api.post("/user", {"email": email})
    assert (answer.status, answer.json["email"]) == (201, email.lower())


@pytest.mark.parametrize(
    "phone",
    ["+1-555-0123", "5550123", "(030) 123 456", "+49 30 123456", "+1-800-FLOWERS", "0123"],
)
async def test_phones_that_pass_as_typed(api: Api, phone: str) -> None:
    path = await api.create(phone=phone)
    assert (await api.get(path)).json["phone"] == phone


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Content-Type": None}, 415, "unsupported_media_type"),
        ({"Content-Type": "text/plain"}, 415, "unsupported_media_type"),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415, "unsupported_media_type"),
        ({"Content-Type": "application/json; charset=latin-1"}, 415, "unsupported_media_type"),
        ({"Content-Type": "application/jsonx"}, 415, "unsupported_media_type"),
        ({"Content-Type": "application/json;charset=UTF-8"}, 201, ""),
        ({"Content-Type": 'Application/JSON; charset="utf-8"'}, 201, ""),
        ({"Content-Encoding": "gzip"}, 415, "unsupported_content_encoding"),
        ({"Content-Encoding": "br"}, 415, "unsupported_content_encoding"),
        ({"Content-Encoding": "nonsense"}, 415, "unsupported_content_encoding"),
        ({"Content-Encoding": "identity"}, 201, ""),
        ({"Expect": "100-continue"}, 201, ""),
        ({"Expect": "tea"}, 417, "expectation_failed"),
    ],
)
async def test_headers_of_a_body(
    api: Api, headers: Mapping[str, str | None], status: int, code: str
) -> None:
    answer = await api.call("POST", "/user", {"email": "a@example.com"}, headers=headers)
    if code:
        assert_problem(answer, status, code)
    else:
        assert answer.status == status


async def test_the_second_of_two_encodings_is_seen(api: Api) -> None:
    headers = CIMultiDict(
        {"Authorization": f"Bearer {api.token}", "Content-Type": "application/json"}
    )
    for encoding in ("identity", "gzip"):
        headers.add("Content-Encoding", encoding)
    body = b'{"email":"a@example.com"}'
    async with api.session.post(f"{api.url}/user", data=body, headers=headers) as answer:
        assert answer.status == 415


async def test_a_body_of_the_largest_size(api: Api) -> None:
    body = b'{"email": "a@example.com"' + b" " * (256 * 1024 - 26) + b"}"
    assert (await api.call("POST", "/user", body=body)).status == 201
    assert_problem(await api.call("POST", "/user", body=body + b" "), 413, "body_too_large")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
async def test_ten_megabytes_are_refused(api: Api, method: str) -> None:
    path = "/user" if method == "POST" else await api.create()
    answer = await api.call(method, path, body=b" " * 10_000_000)
    assert_problem(answer, 413, "body_too_large")


@pytest.mark.parametrize(
    "path",
    ["/user/nope", "/user/cust_none", "/user/%00", "/user/%FF", "/user/%ED%A0%80", "/user/a%2Fb",
     "/user/..%2F..%2Fetc", "/user/%F0%9F%98%80", "/user/" + "x" * 5000, "/user/cust_' OR 1=1",
     "/user/%25"],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_ids_are_opaque(shared_api: Api, method: str, path: str) -> None:
    body = {} if method == "PUT" else None
    answer = await shared_api.call(method, path.replace(" ", "%20"), body)
    assert_problem(answer, 404, "customer_not_found")


@pytest.mark.parametrize(
    "path",
    ["/", "/users", "/user/", "/user/x/", "/user//address", "/user/x/address/", "/user/x/tags",
     "/v2/user", "/v1", "/v1/v1/user", "//user", "/user/x/tag/y/z", "/USER", "/%75ser"],
)  # fmt: skip
async def test_paths_that_are_not_there(shared_api: Api, path: str) -> None:
    assert_problem(await shared_api.get(path), 404, "route_not_found")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", "/user", "GET, HEAD, POST"),
        ("OPTIONS", "/user", "GET, HEAD, POST"),
        ("POST", "/v1/user/x", "DELETE, GET, HEAD, PATCH, PUT"),
        ("TRACE", "/user/x", "DELETE, GET, HEAD, PATCH, PUT"),
        ("GET", "/user/x/tag", "POST"),
        ("PURGE", "/user/x/address", "POST"),
        ("POST", "/livez", "GET, HEAD"),
    ],
)
async def test_methods_that_are_not_there(
    shared_api: Api, method: str, path: str, allow: str
) -> None:
    answer = await shared_api.call(method, path)
    assert_problem(answer, 405, "method_not_allowed")
    assert answer.headers["Allow"] == allow
    assert answer.json["allowed"] == allow.split(", ")
