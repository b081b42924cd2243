"""`customers tenant …` and `customers token …`: what an operator does about who may call."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta

from service.cli.connections import key_source, migrated_database
from service.cli.output import Failed, Json, moment, print_data, print_json, print_table, say
from service.errors import Fault, Rejected
from service.master_key import check_master_key, require_master_key
from service.postgres import Postgres
from service.settings import Settings
from service.tenants import Tenants
from service.token_keys import TokenKeys
from service.tokens import TokenRow, Tokens

_LIFETIME = re.compile(r"([0-9]{1,9})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


async def create_tenant(
    settings: Settings, name: str, currency: str | None, *, as_json: bool
) -> None:
    """Raises Failed where the tenant exists with orders in another currency."""
    async with migrated_database(settings) as postgres:
        tenants = Tenants(postgres)
        found, is_new = await tenants.ensure(name, currency or settings.default_currency)
        if currency is not None and found != currency:
            if not await tenants.change_currency(name, currency):
                raise Failed(f"The tenant {name} has orders, so its currency stays {found}.")
            found = currency
    say(f"The tenant {name} {'was made' if is_new else 'exists'}; its currency is {found}.")
    if as_json:
        print_json({"tenant": name, "currency": found, "created": is_new})


async def list_tenants(settings: Settings, *, as_json: bool) -> None:
    async with migrated_database(settings) as postgres:
        rows = await Tenants(postgres).all()
    if as_json:
        print_json([
            {"tenant": row.name, "currency": row.currency, "createdAt": moment(row.created_at)}
            for row in rows
        ])  # fmt: skip
        return
    table = [[row.name, row.currency, moment(row.created_at)] for row in rows]
    print_table(["TENANT", "CURRENCY", "CREATED"], table)


async def create_token(
    settings: Settings,
    tenant: str,
    scopes: Sequence[str],
    *,
    name: str | None,
    expires: str | None,
    as_json: bool,
) -> None:
    """Prints the token's text, and nothing else unless as JSON."""
    expires_in = None if expires is None else _lifetime(expires)
    async with migrated_database(settings) as postgres:
        tokens = await _tokens(settings, postgres)
        token = await tokens.create(
            tenant, scopes, currency=settings.default_currency, name=name, expires_in=expires_in
        )
    if as_json:
        print_json({"id": token.id, "token": token.text, "tenant": tenant, "scopes": [*scopes]})
        return
    say(f"Token {token.id} of tenant {tenant}; it is shown this once:")
    print_data(token.text)


async def list_tokens(settings: Settings, tenant: str | None, *, as_json: bool) -> None:
    async with migrated_database(settings) as postgres:
        rows = await (await _tokens(settings, postgres)).find(tenant)
    if as_json:
        print_json([_document(row) for row in rows])
        return
    headers = ["ID", "TENANT", "NAME", "SCOPES", "CREATED", "EXPIRES", "REVOKED"]
    print_table(headers, [_cells(row) for row in rows])


async def revoke_token(settings: Settings, id_or_text: str, *, as_json: bool) -> None:
    """Raises Failed where there is no such token."""
    async with migrated_database(settings) as postgres:
        revoked = await (await _tokens(settings, postgres)).revoke(id_or_text)
    if revoked is None:
        raise Failed("There is no such token.")
    say(f"Token {revoked} is revoked; every process refuses it within seconds.")
    if as_json:
        print_json({"id": revoked, "revoked": True})


async def _tokens(settings: Settings, postgres: Postgres) -> Tokens:
    source = key_source(settings)
    key = require_master_key(source)
    if not await check_master_key(postgres, key, source):
        raise Failed("The database knows no master key yet: run `customers migrate`.")
    return Tokens(postgres, TokenKeys(key))


def _lifetime(text: str) -> timedelta:
    """90d, 12h, 30m or 45s. Raises Rejected."""
    match = _LIFETIME.fullmatch(text)
    if match is None:
        detail = "give a whole number and a unit: 45s, 30m, 12h or 90d"
        raise Rejected([Fault("expires", "invalid_lifetime", detail)])
    return timedelta(seconds=int(match[1]) * _SECONDS[match[2]])


def _cells(row: TokenRow) -> list[str]:
    times = [moment(time) for time in (row.created_at, row.expires_at, row.revoked_at)]
    return [row.id, row.tenant, row.name or "", ",".join(row.scopes), *times]


def _document(row: TokenRow) -> Json:
    return {
        "id": row.id,
        "tenant": row.tenant,
        "name": row.name,
        "scopes": [*row.scopes],
        "createdAt": moment(row.created_at),
        "expiresAt": moment(row.expires_at) or None,
        "revokedAt": moment(row.revoked_at) or None,
    }
