"""The tag routes: add several, remove one."""

from __future__ import annotations

from aiohttp import web

from service.customer import AddTags, RemoveTags
from service.http.call import Call
from service.http.models import TagsBody
from service.http.writes import Writes


class Tags:
    def __init__(self, writes: Writes) -> None:
        self._writes = writes

    async def add(self, call: Call) -> web.Response:
        assert isinstance(call.body, TagsBody)
        return await self._writes.customer(call, call.customer_id, AddTags(call.body.tags))

    async def remove(self, call: Call) -> web.Response:
        """Stored tags are trimmed, so the one in the path is, too."""
        command = RemoveTags((call.parts[1].strip(),))
        return await self._writes.customer(call, call.customer_id, command)
