"""What must stand in a database before roles start: its shape, the master key, the first tenant.

Invariant: safe to repeat and to run from many places at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from service.cli.connections import database, key_source
from service.cli.output import Failed
from service.errors import ConfigurationError
from service.master_key import MasterKey, provide_master_key
from service.migrations import MIGRATION_TIMEOUT_SECONDS, Migration, apply_migrations
from service.postgres import ConstraintViolated, Postgres
from service.settings import Settings
from service.tenants import DEFAULT_TENANT, Tenants
from service.token_keys import TokenKeys
from service.tokens import SCOPES, NewToken, Tokens

if TYPE_CHECKING:
    from service.kafka import KafkaConfig

BEGAN_CLEAR = (
    "This database was begun by a version that kept personal data in clear, which could never be"
    " forgotten: start with a new one."
)
UP_TOKEN_NAME = "up"  # noqa: S105 - a name
UP_TOKEN_ID_FILE = "up-token-id"  # noqa: S105 - a file's name


async def prepare_database(settings: Settings) -> Sequence[Migration]:
    """The migrations that ran. Raises ConfigurationError where the master key does not fit."""
    async with database(settings, command_timeout_seconds=MIGRATION_TIMEOUT_SECONDS) as postgres:
        try:
            done = await apply_migrations(postgres)
        except ConstraintViolated as error:
            if error.constraint == "log_sealed_from_the_start":
                raise ConfigurationError(BEGAN_CLEAR) from error
            raise
        await provide_master_key(postgres, key_source(settings))
        await Tenants(postgres).ensure(DEFAULT_TENANT, settings.default_currency)
    return done


async def prepare_topics(config: KafkaConfig) -> tuple[list[str], list[str]]:
    """The topics that were made, and what is not as it should be with those that existed."""
    from service.kafka import Topics

    async with Topics.connect(config) as topics:
        made = await topics.create_missing(config.topics)
        return made, await topics.faults(config.topics)


async def renew_up_token(settings: Settings, postgres: Postgres, key: MasterKey) -> NewToken:
    """A token with every scope, in place of the one that the last start in this folder made."""
    tokens = Tokens(postgres, TokenKeys(key))
    id_file = settings.data_directory.expanduser() / UP_TOKEN_ID_FILE
    try:
        id_file.parent.mkdir(parents=True, exist_ok=True)
        if id_file.exists():
            await tokens.drop(id_file.read_text(encoding="utf-8"))
        currency = settings.default_currency
        token = await tokens.create(DEFAULT_TENANT, SCOPES, currency=currency, name=UP_TOKEN_NAME)
        id_file.write_text(token.id, encoding="utf-8")
    except OSError as error:
        raise Failed(
            f"The data folder {id_file.parent} cannot be used: {error.strerror}."
        ) from error
    return token
