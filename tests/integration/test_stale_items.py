"""What lists and the topic of states say of parked customers, and of those who go on."""

from __future__ import annotations

from typing import Any

import orjson

from service.event_log import EventLog
from service.events import CustomerTagged
from service.identifiers import CustomerId
from service.list_request import ListRequest
from service.queries import Queries
from tests.servers.server import Handle
from tests.support.logs import a_change, a_creation
from tests.support.parking import mend, released, spoil
from tests.support.projections import Projected, projected
from tests.support.states import a_written, writing
from tests.support.topics import eventually
from tests.support.vaults import VAULT

EVERYBODY = ListRequest()


async def a_parked_customer(world: Projected) -> CustomerId:
    creation = a_creation("jane@example.com")
    await world.appender.append(creation)
    tagging = CustomerTagged(tags=("vip",))
    await world.appender.append(a_change(creation.customer_id, 1, tagging))
    await spoil(world.postgres, creation.customer_id, 2)
    await world.catch_up()
    return creation.customer_id


async def listed(queries: Queries) -> list[dict[str, Any]]:
    found = await queries.list("default", EVERYBODY)
    return list(orjson.loads(found.body)["models"])


async def test_items_of_parked_customers_are_marked_and_no_others(database: str) -> None:
    async with projected(database) as world:
        queries = Queries(world.postgres, EventLog(world.postgres, VAULT), b"k" * 32)
        customer_id = await a_parked_customer(world)
        await world.appender.append(a_creation("other@example.com"))
        await world.catch_up()
        other, parked = await listed(queries)
        assert (parked["id"], parked["tags"], parked["stale"]) == (customer_id, [], True)
        assert list(parked)[:-1] == list(other)
        await mend(world.postgres)
        await released(world, customer_id)
        _, shown = await listed(queries)  # although no position has moved since the list before
        assert (shown["tags"], list(shown)) == (["vip"], list(other))


async def test_the_state_of_who_was_released_is_sent(
    database: str, kafka_server: Handle, topic_suffix: str
) -> None:
    async with a_written(database, kafka_server, topic_suffix) as written:
        world = written.model
        customer_id = await a_parked_customer(world)
        async with writing(written.worker()):
            await eventually(written.is_up_to_date)
            await written.assert_exact()
            await mend(world.postgres)
            await released(world, customer_id)

            async def is_sent() -> bool:
                left = "SELECT 1 FROM projection.outdated_state"
                return not await world.postgres.fetch(int, left)

            await eventually(is_sent)
        await written.assert_exact()
        versions = [
            dict(each.headers)["ce_sequence"]
            for each in await written.records()
            if each.key == customer_id.encode()
        ]
        assert (versions[0], versions[-1]) == (b"1", b"2")


async def test_where_there_is_no_topic_of_states_nothing_is_kept_for_it(database: str) -> None:
    async with projected(database) as world:
        customer_id = await a_parked_customer(world)
        await mend(world.postgres)
        await released(world, customer_id)
        assert await world.postgres.fetch(int, "SELECT 1 FROM projection.outdated_state") == []
