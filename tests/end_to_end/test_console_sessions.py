"""Who gets into the console, for how long, and what the browser is told to keep and to allow."""

from __future__ import annotations

from base64 import urlsafe_b64decode
from collections.abc import Callable
from datetime import timedelta

import pytest

from service.http.console_answers import POLICY
from service.http.sessions import BEARER_CHARACTERS_MAX, COOKIE, SESSION_SECONDS
from tests.support.api import Api
from tests.support.console import Visitor, signed_in
from tests.support.topics import eventually

CHANGES = (lambda text: text[:-8] + "AAAAAAA=", lambda _: "AAAA", str.upper)
PAGES = ("/console", "/console/customers", "/console/customers/cust_1")


async def ends(visitor: Visitor) -> None:
    """The session, by itself, within the time in which tokens are checked anew."""

    async def has_ended() -> bool:
        shown = await visitor.get()
        if shown.status == 200:
            return False
        assert (shown.status, shown.headers["Location"]) == (303, "/console/sign-in?ended=yes")
        assert shown.cookie is not None
        assert (shown.cookie.value, shown.cookie["max-age"]) == ("", "0")
        return True

    await eventually(has_ended, 10)


@pytest.mark.parametrize("path", PAGES)
async def test_who_is_not_signed_in_is_sent_to_sign_in(shared_api: Api, path: str) -> None:
    shown = await Visitor(shared_api).get(path)
    assert (shown.status, shown.headers["Location"], shown.body) == (303, "/console/sign-in", "")
    assert "Sign in" in (await Visitor(shared_api).get("/console/sign-in")).text


async def test_the_cookie_is_kept_from_scripts_and_other_sites(shared_api: Api) -> None:
    shown = await Visitor(shared_api).sign_in(shared_api.token)
    cookie = shown.cookie
    assert cookie is not None
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Strict", "/console")
    assert (cookie["max-age"], cookie["secure"], cookie["domain"]) == (str(SESSION_SECONDS), "", "")
    assert shared_api.token not in cookie.value
    assert shared_api.token.encode() not in urlsafe_b64decode(cookie.value)


async def test_over_https_the_cookie_is_sent_by_nothing_else(shared_api: Api) -> None:
    headers = {"Sec-Fetch-Site": "same-origin", "X-Forwarded-Proto": "https"}
    form = {"token": shared_api.token or ""}
    shown = await Visitor(shared_api).post("/console/sign-in", form, headers)
    assert shown.cookie is not None
    assert shown.cookie["secure"] is True


async def test_every_answer_is_a_page_under_the_strict_policy(shared_api: Api) -> None:
    inside, outside = await signed_in(shared_api), Visitor(shared_api)
    answers = {
        200: [await inside.get(path) for path in PAGES[:2]],
        303: [await outside.get()],
        400: [await inside.get("/console/customers?page=0"), await inside.get("/console?x=1")],
        403: [await outside.sign_in("ctk_wrong")],
        404: [await inside.get(PAGES[2]), await outside.get("/console/nothing/here")],
        405: [await outside.post("/console/customers")],
    }
    for status, shown in ((status, each) for status, all_ in answers.items() for each in all_):
        assert shown.status == status
        assert shown.headers["Content-Security-Policy"] == POLICY
        assert shown.headers["Cache-Control"] == "no-store"
        assert shown.headers["X-Content-Type-Options"] == "nosniff"
        assert shown.headers["Referrer-Policy"] == "same-origin"
        if status != 303:
            assert "<h1>" in shown.body
            assert {tag for tag, _ in shown.html.tags}.isdisjoint({"script", "style"})
            assert not [attrs for _, attrs in shown.html.tags if "style" in attrs]
    assert "unsafe" not in POLICY
    assert "script" not in POLICY


@pytest.mark.parametrize("token", ["", "ctk_nobody", "a.b.c", "x" * (BEARER_CHARACTERS_MAX + 1)])
async def test_a_wrong_token_gets_nobody_in(shared_api: Api, token: str) -> None:
    shown = await Visitor(shared_api).sign_in(token)
    assert (shown.status, shown.cookie) == (403, None)
    assert not token or token not in shown.body


async def test_a_revoked_token_ends_the_session(shared_api: Api) -> None:
    caller = await shared_api.with_scopes("customers:read")
    visitor = await signed_in(caller)
    assert (await visitor.get()).status == 200
    assert await shared_api.tokens.revoke(caller.token or "") is not None
    await ends(visitor)
    assert (await visitor.sign_in(caller.token)).status == 403


async def test_an_expired_token_ends_the_session(shared_api: Api) -> None:
    token = await shared_api.tokens.create(
        "default", ["customers:read"], currency="USD", expires_in=timedelta(seconds=2)
    )
    await ends(await signed_in(shared_api.with_token(token.text)))


@pytest.mark.parametrize("change", CHANGES)
async def test_a_cookie_that_is_not_ours_opens_nothing(
    shared_api: Api, change: Callable[[str], str]
) -> None:
    visitor = await signed_in(shared_api)
    visitor.cookies[COOKIE] = change(visitor.cookies[COOKIE])
    assert (await visitor.get()).status == 303


async def test_the_token_itself_is_no_cookie_and_the_cookie_no_token(shared_api: Api) -> None:
    visitor = Visitor(shared_api, {COOKIE: shared_api.token or ""})
    assert (await visitor.get()).status == 303
    cookie = (await signed_in(shared_api)).cookies[COOKIE]
    assert (await shared_api.with_token(cookie).get("/user")).status == 401


async def test_who_signs_out_is_out(shared_api: Api) -> None:
    visitor = await signed_in(shared_api)
    shown = await visitor.post("/console/sign-out")
    assert (shown.status, shown.headers["Location"]) == (303, "/console/sign-in")
    assert shown.cookie is not None
    assert (shown.cookie.value, shown.cookie["max-age"]) == ("", "0")


@pytest.mark.parametrize("path", ["/console/sign-in", "/console/sign-out"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://127.0.0.1"},
        {"Origin": "https://elsewhere.example.com"},
        {"Origin": "null"},
        {"Origin": "http://["},
    ],
)
async def test_forms_of_other_sites_are_refused(
    shared_api: Api, path: str, headers: dict[str, str]
) -> None:
    shown = await Visitor(shared_api).post(path, {"token": shared_api.token or ""}, headers)
    assert (shown.status, shown.cookie) == (400, None)
    assert "another site" in shown.text


async def test_a_form_of_our_own_is_known_by_its_origin_too(shared_api: Api) -> None:
    form, headers = {"token": shared_api.token or ""}, {"Origin": shared_api.url}
    assert (await Visitor(shared_api).post("/console/sign-in", form, headers)).status == 303


async def test_the_address_with_a_slash_leads_to_the_page(shared_api: Api) -> None:
    shown = await Visitor(shared_api).get("/console/")
    assert (shown.status, shown.headers["Location"]) == (308, "/console")


@pytest.mark.parametrize(
    ("name", "media_type"),
    [("console.css", "text/css; charset=utf-8"), ("icon.svg", "image/svg+xml")],
)
async def test_the_files_of_the_pages_are_there(
    shared_api: Api, name: str, media_type: str
) -> None:
    shown = await Visitor(shared_api).get(f"/console/{name}")
    assert (shown.status, shown.headers["Content-Type"]) == (200, media_type)
    assert "http" not in shown.body.replace("http://www.w3.org/2000/svg", "")
