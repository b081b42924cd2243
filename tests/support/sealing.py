"""A customer in a log, and what can befall her key, for tests."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from service.appender import Appender
from service.command_handler import CommandHandler
from service.customer import CreateCustomer, DeleteCustomer, UpdateCustomer
from service.errors import Corrupt
from service.event_log import EventLog
from service.events import CustomerChanges, Position
from service.identifiers import CustomerId, new_customer_id
from service.postgres import Postgres
from tests.support.logs import a_request
from tests.support.vaults import VAULT

KEY_DAMAGES = {
    "truncated": "UPDATE vault.customer_key SET wrapped = substr(wrapped, 1, 40)",
    "empty": "UPDATE vault.customer_key SET wrapped = ''",
    "one bit": "UPDATE vault.customer_key"
    " SET wrapped = set_byte(wrapped, 30, get_byte(wrapped, 30) # 1)",
}


@dataclass
class World:
    postgres: Postgres
    appender: Appender
    log: EventLog
    handler: CommandHandler

    async def jane(self) -> CustomerId:
        customer_id = new_customer_id()
        command = CreateCustomer(
            id=customer_id,
            email="jane@example.com",
            first_name="Janet",
            last_name="Doubtfire",
            phone="+1-555-0123",
            metadata={"hush": "hush"},
        )
        await self.handler.handle(a_request(customer_id, command))
        change = UpdateCustomer(CustomerChanges(email="janet@example.com"))
        await self.handler.handle(a_request(customer_id, change))
        return customer_id

    async def delete(self, customer_id: CustomerId) -> None:
        await self.handler.handle(a_request(customer_id, DeleteCustomer()))

    async def jane_is_damaged(self) -> None:
        """What is read of the log says so, and tells nothing."""
        for event in await self.log.page(Position(0)):
            assert (event.is_damaged, event.is_forgotten, event.data) == (True, False, "{}")
            with pytest.raises(Corrupt):
                event.decoded()

    def stranger(self) -> CommandHandler:
        """Another process, which remembers nothing."""
        return CommandHandler(EventLog(self.postgres, VAULT), self.appender)
