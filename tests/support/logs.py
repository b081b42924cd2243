"""A log for tests: appends through the real parts, one process's worth."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from service.appender import Appender
from service.command_handler import CommandHandler, Request
from service.customer import Command, CreateCustomer
from service.event_log import Append, EventLog, Key
from service.events import CustomerCreated, Event, Version
from service.identifiers import CustomerId, new_customer_id
from service.postgres import Postgres
from service.vault import Vault
from tests.support.histories import META
from tests.support.vaults import VAULT


@asynccontextmanager
async def appending(postgres: Postgres, vault: Vault = VAULT) -> AsyncIterator[Appender]:
    """An appender that runs for the length of the block."""
    appender = Appender(postgres, vault)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(appender.run())
        try:
            yield appender
        finally:
            appender.stop()


@asynccontextmanager
async def handling(database_url: str) -> AsyncIterator[CommandHandler]:
    """What one API process has between HTTP and the database."""
    async with Postgres.connect(database_url) as postgres, appending(postgres) as appender:
        yield CommandHandler(EventLog(postgres, VAULT), appender)


def a_creation(
    email: str,
    *,
    tenant: str = "default",
    key: Key | None = None,
    expected_version: int = 0,
    tags: tuple[str, ...] = (),
) -> Append:
    return Append(
        tenant=tenant,
        customer_id=new_customer_id(),
        expected_version=Version(expected_version),
        events=(CustomerCreated(email=email, first_name="Jane", tags=tags),),
        meta=META,
        claim_email=email,
        key=key,
    )


def a_change(customer_id: CustomerId, expected_version: int, *events: Event) -> Append:
    return Append("default", customer_id, Version(expected_version), events, META)


def a_request(
    customer_id: CustomerId,
    command: Command,
    *,
    expected_versions: frozenset[int] | None = None,
    key: Key | None = None,
    tenant: str = "default",
) -> Request:
    return Request(tenant, customer_id, command, META, expected_versions, key)


def a_create_request(email: str, *, key: Key | None = None, tenant: str = "default") -> Request:
    customer_id = new_customer_id()
    return a_request(
        customer_id, CreateCustomer(id=customer_id, email=email), key=key, tenant=tenant
    )
