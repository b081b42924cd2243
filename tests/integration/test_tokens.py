"""Tokens on a real PostgreSQL: let in, refused, and refused again soon after they were revoked."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

import pytest

from service.errors import Rejected, Unavailable
from service.events import Actor, CustomerDeleted
from service.master_key import MasterKey
from service.order_intake import Recorder
from service.postgres import Postgres, Row, RowMaker
from service.tenants import Tenants
from service.token_keys import TokenKeys
from service.tokens import (
    CACHED_BEARERS_MAX,
    DATABASE_RETRY_SECONDS,
    GRACE_SECONDS,
    RECHECK_SECONDS,
    SCOPES,
    Authenticator,
    Claims,
    Principal,
    Tokens,
)
from tests.support.logs import a_change, a_creation, appending
from tests.support.orders import a_message

KEYS = TokenKeys(MasterKey.of(bytes(32)))
OTHER_KEYS = TokenKeys(MasterKey.of(bytes(31) + b"1"))
BLINK = 0.001


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Link:
    """The way to the database: counts the questions, and can be cut."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self.is_cut = False
        self.is_busy = False
        self.questions = 0

    async def fetch_one(self, row: RowMaker[Row], sql: str, *arguments: object) -> Row | None:
        self.questions += 1
        if self.is_cut:
            raise Unavailable("database_unavailable", "The database cannot be reached.")
        if self.is_busy:
            raise Unavailable("overloaded", "Every connection is in use.")
        return await self._postgres.fetch_one(row, sql, *arguments)


class Issuer:
    """Stands where JWTs are verified: `tenant.scope` before the last dot is what it believes."""

    async def verify(self, bearer: str) -> Claims | None:
        tenant, scope, name = bearer.split(".")
        if name == "bad":
            return None
        return Claims(tenant, frozenset({scope, "made:up"}), name, 60.0, client="till")


@pytest.fixture
async def postgres(database: str) -> AsyncIterator[Postgres]:
    async with Postgres.connect(database) as postgres:
        yield postgres


@pytest.fixture
def tokens(postgres: Postgres) -> Tokens:
    return Tokens(postgres, KEYS)


@pytest.fixture
def link(postgres: Postgres) -> Link:
    return Link(postgres)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def authenticator(link: Link, clock: Clock) -> Authenticator:
    return Authenticator(link, KEYS, jwt=Issuer(), clock=clock)


async def make(tokens: Tokens, scopes: Sequence[str] = ("customers:read",)) -> str:
    return (await tokens.create("acme", scopes, currency="EUR", name="shop")).text


async def test_a_token_says_who_calls(tokens: Tokens, authenticator: Authenticator) -> None:
    token = await tokens.create("acme", SCOPES, currency="EUR", name="shop")
    assert await authenticator.authenticate(token.text) == Principal(
        "acme", "EUR", frozenset(SCOPES), Actor(type="token", id=token.id, name="shop")
    )


async def test_only_a_keyed_hash_is_stored(tokens: Tokens, postgres: Postgres) -> None:
    text = await make(tokens)
    rows = await postgres.fetch(str, "SELECT token::text FROM access.token ORDER BY id")
    assert len(rows) == 1
    assert text not in rows[0]
    assert KEYS.hash(text).hex() in rows[0]
    assert KEYS.hash(text) != OTHER_KEYS.hash(text)


async def test_a_known_token_costs_no_question(
    tokens: Tokens, authenticator: Authenticator, link: Link
) -> None:
    text = await make(tokens)
    for _ in range(10):
        assert await authenticator.authenticate(text) is not None
    assert link.questions == 1


async def test_many_at_once_ask_once(
    tokens: Tokens, authenticator: Authenticator, link: Link
) -> None:
    text = await make(tokens)
    found = await asyncio.gather(*(authenticator.authenticate(text) for _ in range(50)))
    assert None not in found
    assert link.questions == 1


async def test_one_that_gives_up_does_not_take_the_others_along(
    tokens: Tokens, authenticator: Authenticator
) -> None:
    text = await make(tokens)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(authenticator.authenticate(text)) for _ in range(5)]
        await asyncio.sleep(0)
        tasks[0].cancel()
    assert all(task.result() is not None for task in tasks[1:])


async def test_a_revoked_token_stops_within_seconds_in_every_process(
    tokens: Tokens, authenticator: Authenticator, link: Link, clock: Clock
) -> None:
    text = await make(tokens)
    other = Authenticator(link, KEYS, clock=clock)
    assert await authenticator.authenticate(text) is not None
    assert await other.authenticate(text) is not None
    assert await tokens.revoke(text) is not None
    clock.now += RECHECK_SECONDS
    assert await authenticator.authenticate(text) is None
    assert await other.authenticate(text) is None


async def test_a_token_is_revoked_by_its_id_too_and_twice(
    tokens: Tokens, authenticator: Authenticator
) -> None:
    token = await tokens.create("acme", ["admin"], currency="EUR")
    assert await tokens.revoke(token.id) == token.id
    first = (await tokens.find("acme"))[0].revoked_at
    assert await tokens.revoke(token.id) == token.id
    assert (await tokens.find("acme"))[0].revoked_at == first
    assert await tokens.revoke("tok_nobody") is None
    assert await authenticator.authenticate(token.text) is None


async def test_an_expired_token_is_refused_at_its_time(
    tokens: Tokens, authenticator: Authenticator, postgres: Postgres, clock: Clock
) -> None:
    day = timedelta(days=1)
    token = await tokens.create("acme", ["admin"], currency="EUR", expires_in=day)
    assert await authenticator.authenticate(token.text) is not None
    # Times are stored in whole milliseconds, rounded: `now()` may come to lie ahead.
    expire = "UPDATE access.token SET expires_at = now() - interval '1 millisecond'"
    await postgres.execute(expire)
    clock.now += RECHECK_SECONDS
    assert await authenticator.authenticate(token.text) is None


async def test_an_end_that_is_near_is_kept_without_a_question(
    tokens: Tokens, authenticator: Authenticator, link: Link, clock: Clock
) -> None:
    soon = timedelta(seconds=1)
    token = await tokens.create("acme", ["admin"], currency="EUR", expires_in=soon)
    assert await authenticator.authenticate(token.text) is not None
    link.is_cut = True
    clock.now += 1.0
    with pytest.raises(Unavailable):
        await authenticator.authenticate(token.text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ctk_",
        "ctk_" + "A" * 52,
        "ctk_" + "A" * 51 + "\n",
        "ctk_" + "\u00e9\udcff" * 26,
        OTHER_KEYS.new_text(),
        "a.b",
        "x" * 9_000,
        "x." * 2 + "x" * 9_000,
    ],
    ids=[
        *("empty", "prefix", "without its check", "line break", "not ASCII", "of other keys"),
        *("two parts", "long", "long in three parts"),
    ],
)
async def test_an_invented_token_never_reaches_the_database(
    text: str, authenticator: Authenticator, link: Link
) -> None:
    assert await authenticator.authenticate(text) is None
    assert link.questions == 0


async def test_a_token_that_is_gone_is_asked_about_once_in_a_while(
    authenticator: Authenticator, link: Link, clock: Clock
) -> None:
    text = KEYS.new_text()
    for _ in range(10):
        assert await authenticator.authenticate(text) is None
    assert link.questions == 1
    clock.now += RECHECK_SECONDS
    assert await authenticator.authenticate(text) is None
    assert link.questions == 2


async def test_without_the_database_known_tokens_serve_for_a_bounded_time(
    tokens: Tokens, authenticator: Authenticator, link: Link, clock: Clock
) -> None:
    text = await make(tokens)
    assert await authenticator.authenticate(text) is not None
    link.is_cut = True
    clock.now += GRACE_SECONDS - BLINK
    assert await authenticator.authenticate(text) is not None
    clock.now += BLINK
    with pytest.raises(Unavailable):
        await authenticator.authenticate(text)
    link.is_cut = False
    clock.now += DATABASE_RETRY_SECONDS
    assert await authenticator.authenticate(text) is not None


async def test_without_the_database_nobody_waits_for_it_again_and_again(
    tokens: Tokens, authenticator: Authenticator, link: Link, clock: Clock
) -> None:
    text = await make(tokens)
    assert await authenticator.authenticate(text) is not None
    link.is_cut = True
    clock.now += RECHECK_SECONDS
    for _ in range(10):
        assert await authenticator.authenticate(text) is not None
        with pytest.raises(Unavailable):
            await authenticator.authenticate(KEYS.new_text())
    assert link.questions == 2


async def test_a_busy_database_is_asked_about_the_next_token(
    tokens: Tokens, authenticator: Authenticator, link: Link
) -> None:
    text = await make(tokens)
    link.is_busy = True
    with pytest.raises(Unavailable) as raised:
        await authenticator.authenticate(KEYS.new_text())
    assert raised.value.code == "overloaded"
    link.is_busy = False
    assert await authenticator.authenticate(text) is not None


async def test_what_is_remembered_is_bounded(
    authenticator: Authenticator, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert CACHED_BEARERS_MAX >= 1_000
    monkeypatch.setattr("service.tokens.CACHED_BEARERS_MAX", 3)
    for _ in range(5):
        await authenticator.authenticate(KEYS.new_text())
    assert len(authenticator._known) == 3


async def test_a_jwt_of_a_known_tenant_is_let_in_with_the_scopes_that_exist(
    postgres: Postgres, authenticator: Authenticator, link: Link
) -> None:
    await Tenants(postgres).ensure("acme", "EUR")
    for _ in range(3):
        assert await authenticator.authenticate("acme.admin.jo") == Principal(
            "acme",
            "EUR",
            frozenset({"admin"}),
            Actor(type="jwt", id=KEYS.subject_id("jo"), name="till"),
        )
    assert link.questions == 1


async def test_who_a_jwt_names_is_not_shown_and_always_the_same(
    postgres: Postgres, authenticator: Authenticator
) -> None:
    await Tenants(postgres).ensure("acme", "EUR")
    ids: list[str] = []
    for name in ("jane@example", "jane@example", "jo@example"):
        found = await authenticator.authenticate(f"acme.admin.{name}")
        assert found is not None
        ids.append(found.actor.id)
    assert ids[0] == ids[1] != ids[2]
    assert re.fullmatch(r"jwt_[0-9a-f]{32}", ids[0])
    assert ids[0] != OTHER_KEYS.subject_id("jane@example")
    assert ids[0].removeprefix("jwt_") not in KEYS.hash("jane@example").hex()


async def test_a_jwt_is_refused_for_an_unknown_tenant_or_by_the_verifier(
    authenticator: Authenticator, link: Link
) -> None:
    assert await authenticator.authenticate("nobody.admin.jo") is None
    assert await authenticator.authenticate("acme.admin.bad") is None
    assert await Authenticator(link, KEYS).authenticate("acme.admin.jo") is None
    assert link.questions == 1
    assert len(authenticator._known) == 0


@pytest.mark.parametrize(
    ("tenant", "scopes", "name", "expires_in", "code"),
    [
        ("acme", ["customers:fly"], None, None, "unknown_scope"),
        ("acme", [], None, None, "unknown_scope"),
        ("a b", ["admin"], None, None, "invalid_tenant"),
        ("acme", ["admin"], "", None, "invalid_name"),
        ("acme", ["admin"], "a\nb", None, "invalid_name"),
        ("acme", ["admin"], None, timedelta(0), "invalid_lifetime"),
    ],
)
async def test_a_token_that_makes_no_sense_is_rejected(
    tokens: Tokens,
    tenant: str,
    scopes: list[str],
    name: str | None,
    expires_in: timedelta | None,
    code: str,
) -> None:
    with pytest.raises(Rejected) as raised:
        await tokens.create(tenant, scopes, currency="EUR", name=name, expires_in=expires_in)
    assert [fault.code for fault in raised.value.faults] == [code]


async def test_a_tenant_keeps_the_currency_it_was_made_with(postgres: Postgres) -> None:
    tenants = Tenants(postgres)
    assert await tenants.ensure("acme", "EUR") == ("EUR", True)
    assert await tenants.ensure("acme", "USD") == ("EUR", False)
    assert [(row.name, row.currency) for row in await tenants.all()] == [("acme", "EUR")]
    with pytest.raises(Rejected, match="unknown_currency"):
        await tenants.ensure("other", "XYZ")


async def test_a_tenants_currency_is_fixed_once_orders_exist(postgres: Postgres) -> None:
    tenants = Tenants(postgres)
    await tenants.ensure("default", "EUR")
    await tenants.ensure("other", "EUR")
    assert await tenants.change_currency("default", "USD")
    assert not await tenants.change_currency("nobody", "USD")
    async with appending(postgres) as appender:
        creation = a_creation("jane@example.com")
        await appender.append(creation)
        message = a_message("1", 1, creation.customer_id)
        assert await Recorder(postgres).record([message]) == ["recorded"]
        assert not await tenants.change_currency("default", "JPY")
        deletion = a_change(creation.customer_id, 2, CustomerDeleted())
        await appender.append(deletion._replace(closes_stream=True))
    assert not await tenants.change_currency("default", "JPY")
    assert (await tenants.ensure("default", "JPY")).currency == "USD"
    assert await tenants.change_currency("other", "JPY")


async def test_an_order_after_a_deletion_fixes_the_currency(postgres: Postgres) -> None:
    tenants = Tenants(postgres)
    await tenants.ensure("default", "EUR")
    async with appending(postgres) as appender:
        creation = a_creation("jane@example.com")
        await appender.append(creation)
        deletion = a_change(creation.customer_id, 1, CustomerDeleted())
        await appender.append(deletion._replace(closes_stream=True))
    assert await tenants.change_currency("default", "USD")
    message = a_message("1", 1, creation.customer_id)
    assert await Recorder(postgres).record([message]) == ["recorded"]
    assert not await tenants.change_currency("default", "JPY")


async def test_changing_a_currency_reads_no_event(postgres: Postgres) -> None:
    """There are millions, and no index by their type."""
    tenants = Tenants(postgres)
    await tenants.ensure("default", "EUR")
    async with postgres.transaction() as holder:
        await holder.execute("LOCK TABLE log.event IN ACCESS EXCLUSIVE MODE")
        async with asyncio.timeout(5):
            assert await tenants.change_currency("default", "USD")
