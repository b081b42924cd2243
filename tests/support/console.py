"""Somebody at the console: keeps the cookie as a browser does, and follows nothing by itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.cookies import Morsel, SimpleCookie

from multidict import CIMultiDictProxy
from typing_extensions import override

from service.http.sessions import COOKIE
from tests.support.api import Api

# What a browser sends with a form of a page's own.
FROM_HERE = {"Sec-Fetch-Site": "same-origin"}


class Html(HTMLParser):
    """What a page says and holds."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self._words: list[str] = []
        self.feed(text)

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    @override
    def handle_data(self, data: str) -> None:
        self._words += data.split()

    @property
    def text(self) -> str:
        return " ".join(self._words)

    @property
    def links(self) -> list[str]:
        return [attrs["href"] for tag, attrs in self.tags if tag == "a"]


@dataclass(frozen=True, slots=True)
class Shown:
    """What came back."""

    status: int
    headers: CIMultiDictProxy[str]
    body: str

    @property
    def html(self) -> Html:
        assert self.headers["Content-Type"] == "text/html; charset=utf-8"
        return Html(self.body)

    @property
    def text(self) -> str:
        return self.html.text

    @property
    def cookie(self) -> Morsel[str] | None:
        """The one that was set."""
        return SimpleCookie(self.headers.get("Set-Cookie", "")).get(COOKIE)


@dataclass(slots=True)
class Visitor:
    api: Api
    cookies: dict[str, str] = field(default_factory=dict)

    async def get(self, path: str = "/console", **headers: str) -> Shown:
        return await self._ask("GET", path, None, headers)

    async def post(
        self, path: str, form: dict[str, str] | None = None, headers: dict[str, str] | None = None
    ) -> Shown:
        return await self._ask("POST", path, form, FROM_HERE if headers is None else headers)

    async def sign_in(self, token: str | None) -> Shown:
        shown = await self.post("/console/sign-in", {"token": token or ""})
        if shown.cookie is not None:
            self.cookies[COOKIE] = shown.cookie.value
        return shown

    async def _ask(
        self, method: str, path: str, form: dict[str, str] | None, headers: dict[str, str]
    ) -> Shown:
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        async with self.api.session.request(
            method,
            self.api.url + path,
            data=form,
            headers={**headers, **({"Cookie": cookie} if cookie else {})},
            allow_redirects=False,
        ) as answer:
            return Shown(answer.status, answer.headers, (await answer.read()).decode())


async def signed_in(api: Api) -> Visitor:
    """With the token of `api`."""
    visitor = Visitor(api)
    shown = await visitor.sign_in(api.token)
    assert (shown.status, shown.headers["Location"]) == (303, "/console")
    return visitor
