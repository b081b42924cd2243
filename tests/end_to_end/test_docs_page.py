"""The pages that anybody may read: whole, offline, and unable to run any code but their own."""

import gzip
import re
from collections.abc import AsyncIterator
from html.parser import HTMLParser

import orjson
import pytest

from service.http.asyncapi import asyncapi_document
from service.http.event_schemas import published_schemas
from service.http.openapi import openapi_document
from service.http.pages import DATA_POLICY, DOCS_POLICY
from service.http.problem_kinds import PROBLEMS, problem_type
from tests.support.api import Api, running_api

SCRIPT_LINES_MAX = 400
SCRIPTS = ("docs.js", "elements.js", "try.js")
STATIC = {
    "/docs": "text/html; charset=utf-8",
    "/docs/docs.css": "text/css; charset=utf-8",
    **{f"/docs/{name}": "text/javascript; charset=utf-8" for name in SCRIPTS},
}
DOCUMENTS = ("/openapi.json", "/asyncapi.json", "/schemas/", "/schemas/customer.created.v1.json")


class Page(HTMLParser):
    """What a page loads, and what in it would need a weaker policy."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.labelled: set[str] = set()
        self.fields: set[str] = set()
        self.inline: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in ("script", "link") and (target := given.get("src") or given.get("href")):
            self.loaded.append(target)
        if tag == "style" or (tag == "script" and "src" not in given):
            self.inline.append(tag)
        self.inline += [name for name in given if name == "style" or name.startswith("on")]
        if tag == "label":
            self.labelled.add(given.get("for") or "")
        if tag in ("input", "select", "textarea"):
            self.fields.add(given.get("id") or "")


@pytest.fixture
async def visitor(database: str) -> AsyncIterator[Api]:
    """Somebody without a token."""
    async with running_api(database) as api:
        yield api.with_token(None)


async def test_the_page_and_its_files_come_under_a_strict_policy(visitor: Api) -> None:
    for path, media_type in STATIC.items():
        answer = await visitor.get(path)
        assert answer.status == 200
        assert answer.headers["Content-Type"] == media_type
        assert answer.headers["Content-Security-Policy"] == DOCS_POLICY
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "unsafe" not in DOCS_POLICY
    assert "http" not in DOCS_POLICY


async def test_the_page_loads_only_files_of_its_own(visitor: Api) -> None:
    page = Page((await visitor.get("/docs")).body.decode())
    assert page.inline == []
    assert page.fields <= page.labelled
    for target in page.loaded:
        if target != "data:,":  # no icon, and none asked for
            assert f"/{target}" in STATIC
    for path in STATIC:
        text = (await visitor.get(path)).body.decode()
        assert not re.search(r"https?://|//[a-z]+\.", text), f"{path} names another host"


async def test_the_scripts_are_small_and_never_make_markup_of_text(visitor: Api) -> None:
    scripts = [(await visitor.get(f"/docs/{name}")).body.decode() for name in SCRIPTS]
    assert sum(len(script.splitlines()) for script in scripts) < SCRIPT_LINES_MAX
    for script in scripts:
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", script)
        for imported in re.findall(r'from "\./(.+?)"', script):
            assert imported in SCRIPTS


async def test_the_documents_are_served_as_they_are_made(visitor: Api) -> None:
    assert (await visitor.get("/openapi.json")).json == openapi_document()
    assert (await visitor.get("/asyncapi.json")).json == asyncapi_document()
    for path in DOCUMENTS:
        answer = await visitor.get(path)
        assert answer.headers["Content-Security-Policy"] == DATA_POLICY


async def test_every_schema_of_the_index_is_served_beside_it(visitor: Api) -> None:
    index = (await visitor.get("/schemas/")).json["schemas"]
    assert [entry["name"] for entry in index] == list(published_schemas())
    for entry in index:
        answer = await visitor.get(f"/schemas/{entry['href']}")
        assert answer.headers["Content-Type"] == "application/schema+json"
        assert answer.json == published_schemas()[entry["name"]]
    assert (await visitor.get("/schemas/customer.created.v99.json")).code == "route_not_found"


@pytest.mark.parametrize("path", [*STATIC, *DOCUMENTS])
async def test_a_page_is_not_sent_twice(visitor: Api, path: str) -> None:
    first = await visitor.get(path)
    again = await visitor.call("GET", path, headers={"If-None-Match": first.headers["ETag"]})
    assert again.status == 304
    assert again.body == b""
    assert again.headers["ETag"] == first.headers["ETag"]
    other = await visitor.call("GET", path, headers={"If-None-Match": '"another"'})
    assert other.body == first.body


async def test_a_page_comes_compressed_to_those_who_can_read_that(visitor: Api) -> None:
    plain = await visitor.get("/openapi.json")
    packed = await visitor.call("GET", "/openapi.json", headers={"Accept-Encoding": "gzip, br"})
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert packed.headers["Vary"] == plain.headers["Vary"] == "Accept-Encoding"
    assert gzip.decompress(packed.body) == plain.body
    assert len(packed.body) * 5 < len(plain.body)


@pytest.mark.parametrize(
    ("accepted", "is_packed"),
    [("gzip;q=0", False), ("br, gzip ; q=0.000", False), ("GZIP;q=0.1", True), ("x-gzip", False)],
)
async def test_a_page_comes_as_it_is_accepted(visitor: Api, accepted: str, is_packed: bool) -> None:
    page = await visitor.call("GET", "/openapi.json", headers={"Accept-Encoding": accepted})
    assert ("Content-Encoding" in page.headers) == is_packed


async def test_the_page_is_found_with_a_slash_too(visitor: Api) -> None:
    answer = await visitor.call("HEAD", "/docs")
    assert (answer.status, answer.body) == (200, b"")
    async with visitor.session.get(f"{visitor.url}/docs/") as found:
        assert (found.status, found.url.path) == (200, "/docs")


async def test_every_problem_leads_to_its_place_in_the_page(visitor: Api) -> None:
    script = (await visitor.get("/docs/docs.js")).body.decode()
    assert "id: `problem-${code}`" in script
    examples = orjson.loads((await visitor.get("/openapi.json")).body)["components"]["examples"]
    for code in PROBLEMS:
        assert problem_type(code) == f"/docs#problem-{code}"
        assert code in examples
