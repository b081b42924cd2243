"""`customers migrate`: everything that must stand before a role can start.

Invariant: safe to repeat and to run from many places at once; nothing that exists is changed
unless a migration says so.
"""

from __future__ import annotations

from collections.abc import Sequence

from service.cli.connections import database, kafka_config
from service.cli.derived import prepare_derived
from service.cli.output import Failed, Json, print_json, say
from service.cli.prepare import prepare_database, prepare_topics
from service.migrations import Migration
from service.rights import may_everybody_create, missing_roles
from service.settings import Settings


async def migrate(settings: Settings, *, as_json: bool) -> None:
    """Database, master key, first tenant, topics. Raises Failed where topics are not as wanted."""
    done = await prepare_database(settings)
    _tell_database(done)
    tables = await prepare_derived(settings)
    for table in tables:
        say(f"Database: derived.{table}.")
    await _tell_walls(settings)
    made: list[str] = []
    faults: list[str] = []
    if settings.kafka_bootstrap_servers is None:
        say("CUSTOMERS_KAFKA_BOOTSTRAP_SERVERS is not set: topics were neither made nor checked.")
    else:
        config = kafka_config(settings, settings.kafka_bootstrap_servers)
        made, faults = await prepare_topics(config)
        say(f"Kafka: {'made ' + ', '.join(made) if made else 'every topic exists'}.")
    if as_json:
        names: list[Json] = [f"{each.owner}/{each.number:04}_{each.name}" for each in done]
        print_json(
            {
                "migrations": names,
                "projections": [*tables],
                "topics": [*made],
                "faults": [*faults],
            }
        )
    if faults:
        raise Failed("; ".join(faults) + ".")


def _tell_database(done: Sequence[Migration]) -> None:
    for migration in done:
        say(f"Database: {migration.owner} {migration.number:04} {migration.name}.")
    if not done:
        say("Database: nothing to migrate.")


async def _tell_walls(settings: Settings) -> None:
    """What our user had not the right to do; everything works without."""
    async with database(settings) as postgres:
        missing = await missing_roles(postgres)
        if missing:
            say(
                f"Every process needs the rights of the database's owner, because the roles"
                f" {', '.join(missing)} are missing and this user may make none: let a superuser"
                " run service/sql/roles.sql, or CREATE ROLE for each, and migrate again."
            )
        elif await may_everybody_create(postgres):
            say(
                "Every user of this database may make tables in schema public, which this user does"
                " not own: let a superuser run ALTER SCHEMA public OWNER TO it, and migrate again."
            )
