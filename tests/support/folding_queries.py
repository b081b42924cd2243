"""The read side for HTTP tests before there is a read model: everything by folding the log."""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from service.customer import Customer, evolve, fold
from service.documents import list_item
from service.errors import NotFound
from service.event_log import EventLog
from service.events import Position, Version
from service.identifiers import CustomerId
from service.list_request import ListRequest


@dataclass(frozen=True, slots=True)
class Found:
    document: bytes
    version: Version
    position: Position


@dataclass(frozen=True, slots=True)
class Listed:
    body: bytes
    position: Position


class FoldingQueries:
    """Filters by tag only; sorts by nothing. Enough to see that a request arrives."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self.last_request: ListRequest | None = None

    async def get(self, tenant: str, customer_id: CustomerId, currency: str) -> Found:
        head, _ = await self._log.stream_and_key(tenant, customer_id, None)
        if head is None:
            raise NotFound("customer_not_found")
        if head.is_closed:
            raise NotFound("customer_deleted")
        customer = fold([event async for event in self._log.stream(tenant, customer_id)])
        assert customer is not None
        return Found(customer.document(currency).json_bytes(), customer.version, head.position)

    async def list(self, tenant: str, request: ListRequest) -> Listed:
        self.last_request = request
        head = await self._log.head()
        customers: dict[str, Customer] = {}
        for stored in await self._log.page(Position(0), limit=10_000):
            event = stored.decoded()
            if event.tenant == tenant:
                customers[event.customer_id] = evolve(customers.get(event.customer_id), event)
        wanted = {tag.casefold() for tag in request.tags}
        found = [
            customer
            for customer in customers.values()
            if not customer.is_deleted and wanted <= {tag.casefold() for tag in customer.tags}
        ]
        page = found[(request.page - 1) * request.display :][: request.display]
        items = [list_item(each.document("USD")).json_bytes() for each in page]
        start = orjson.dumps(
            {"count": len(found), "page": request.page, "display": request.display}
        )
        models = b",".join(items)
        body = start[:-1] + b',"nextCursor":null,"models":[' + models + b"]}"
        return Listed(body, head.position)
