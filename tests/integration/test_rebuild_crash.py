"""A rebuild whose database server dies while tables are filled: its commits wait for no disk."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from random import Random

from projections.rebuild import filled, finish, unfinished
from service.errors import Unavailable
from service.migrations import migrate
from service.postgres import Postgres
from tests.servers.databases import Databases
from tests.servers.server import Controllable
from tests.support.logs import appending
from tests.support.projections import Projected, a_history, append_history, projected
from tests.support.rebuilding import begun, fill_all, gone_over
from tests.support.topics import eventually

# Rows of a range that is not done, and customers of one that is done who have no row.
TORN = """
SELECT (SELECT count(*) FROM customers_v2.customer WHERE NOT EXISTS (
            SELECT FROM projection.rebuild_range WHERE is_done AND id > after AND id <= until))
     + (SELECT count(*) FROM log.stream
        JOIN projection.rebuild_range ON is_done AND customer_id > after AND customer_id <= until
        WHERE NOT EXISTS (SELECT FROM customers_v2.customer WHERE id = customer_id))"""

HOLD = "LOCK TABLE customers_v2.customer IN EXCLUSIVE MODE"  # from whoever fills it


async def test_a_range_is_lost_with_its_mark_or_not_at_all(
    breakable_postgres: Controllable,
) -> None:
    async with Databases(breakable_postgres.server.address, migrate) as databases:
        url = await databases.create()
        async with projected(url) as world:
            history = a_history(Random(7), steps=600, customers=60)
            await append_history(world.appender, history)
            await world.catch_up()
            build = await begun(world.postgres)
            planned = (await filled(world.postgres, build)).ranges_left

            async def has_begun() -> bool:
                return (await filled(world.postgres, build)).ranges_left < planned

            filling = asyncio.create_task(fill_all(world.postgres, build))
            await eventually(has_begun)
            with suppress(Unavailable):  # at the end of the block
                async with world.postgres.transaction() as transaction:
                    await transaction.execute(HOLD)  # gets its turn before the next range
                    await breakable_postgres.kill()
            await asyncio.wait([filling])
            assert filling.exception() is not None, "it was held too late"
        await breakable_postgres.restart()
        async with Postgres.connect(url) as postgres, appending(postgres) as appender:
            assert await unfinished(postgres) == build
            assert (await filled(postgres, build)).ranges_left > 0
            assert await postgres.fetch(int, TORN) == [0]
            await fill_all(postgres, build)
            await finish(postgres, build)
            await gone_over(postgres, build.projection)
            await Projected(postgres, appender).assert_exact()
