"""What a command answers when another process writes to the same customer at the same moment."""

from __future__ import annotations

from typing_extensions import override

from service.appender import Appender
from service.command_handler import CommandHandler
from service.customer import UpdateCustomer
from service.event_log import Append, EventLog, Replayed, StreamHead
from service.events import CustomerTagged
from service.identifiers import CustomerId
from service.postgres import Postgres
from tests.support.logs import a_change, a_create_request, a_request, appending


class Overtaken(EventLog):
    """Another process appends once, just after this one has looked where the stream stands."""

    def __init__(self, postgres: Postgres, appender: Appender, change: Append) -> None:
        super().__init__(postgres)
        self._appender = appender
        self._change: Append | None = change

    @override
    async def stream_and_key(
        self, tenant: str, customer_id: CustomerId, key: str | None
    ) -> tuple[StreamHead | None, tuple[bytes, Replayed] | None]:
        found = await super().stream_and_key(tenant, customer_id, key)
        if self._change is not None:
            change, self._change = self._change, None
            await self._appender.append(change)
        return found


async def test_the_position_of_a_change_of_nothing_is_that_of_the_version_shown(
    database: str,
) -> None:
    async with Postgres.connect(database) as postgres, appending(postgres) as appender:
        made = await CommandHandler(EventLog(postgres), appender).handle(
            a_create_request("jane@example.com")
        )
        change = a_change(made.customer.id, 1, CustomerTagged(tags=("vip",)))
        handler = CommandHandler(Overtaken(postgres, appender, change), appender)

        written = await handler.handle(a_request(made.customer.id, UpdateCustomer()))

    assert (written.customer.version, written.position) == (2, made.position + 1)
