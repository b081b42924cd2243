"""The address routes: add, update, remove."""

from __future__ import annotations

from aiohttp import web

from service.customer import AddAddress, RemoveAddress
from service.http.call import Call
from service.http.models import AddressBody, AddressPatch
from service.http.writes import Writes


class Addresses:
    def __init__(self, writes: Writes) -> None:
        self._writes = writes

    async def add(self, call: Call) -> web.Response:
        assert isinstance(call.body, AddressBody)
        address = call.body.address()
        return await self._writes.address(call, AddAddress(address), address.id, status=201)

    async def update(self, call: Call) -> web.Response:
        assert isinstance(call.body, AddressPatch)
        address_id = call.address_id
        return await self._writes.address(call, call.body.command(address_id), address_id)

    async def remove(self, call: Call) -> web.Response:
        return await self._writes.nothing(call, RemoveAddress(call.address_id))
