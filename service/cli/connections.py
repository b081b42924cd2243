"""What the settings say, as objects: the master key, the database, Kafka.

Invariant: only composition roots call this; everything else gets what it needs as arguments.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from service.cli.output import Failed
from service.master_key import KeySource, require_master_key
from service.migrations import missing_migrations
from service.postgres import COMMAND_TIMEOUT_SECONDS, Postgres
from service.settings import Settings
from service.vault import Vault

if TYPE_CHECKING:
    from service.kafka import KafkaConfig

SECONDS_PER_HOUR = 3_600


def key_source(settings: Settings) -> KeySource:
    secret = settings.master_key
    return KeySource(settings.master_key_path, secret.get_secret_value() if secret else None)


def vault_of(settings: Settings) -> Vault:
    """What opens and seals, by the master key. Raises ConfigurationError where there is none."""
    source = key_source(settings)
    return Vault(require_master_key(source), source)


def kafka_config(
    settings: Settings, bootstrap_servers: str, *, is_embedded: bool = False
) -> KafkaConfig:
    """How to reach Kafka. The embedded broker refuses idempotent producers."""
    from service.kafka import KafkaConfig

    secret = settings.kafka_sasl_password
    return KafkaConfig(
        bootstrap_servers=bootstrap_servers,
        security_protocol=settings.kafka_security_protocol,
        sasl_mechanism=settings.kafka_sasl_mechanism,
        sasl_username=settings.kafka_sasl_username,
        sasl_password=secret.get_secret_value() if secret else None,
        ca_file=settings.kafka_tls_ca_file,
        certificate_file=settings.kafka_tls_certificate_file,
        key_file=settings.kafka_tls_key_file,
        idempotence=settings.kafka_idempotence and not is_embedded,
        topic_prefix=settings.kafka_topic_prefix,
        events_partitions=settings.kafka_partitions,
        events_retention_seconds=settings.kafka_retention_hours * SECONDS_PER_HOUR,
        replication_factor=settings.kafka_replication_factor,
    )


@asynccontextmanager
async def database(
    settings: Settings,
    *,
    command_timeout_seconds: float = COMMAND_TIMEOUT_SECONDS,
    pool_size_max: int = 1,
) -> AsyncIterator[Postgres]:
    """The database that the settings name, over one connection: for an operator's command."""
    async with Postgres.connect(
        settings.require_database_dsn(),
        pool_size_max=pool_size_max,
        command_timeout_seconds=command_timeout_seconds,
        statement_cache=settings.database_statement_cache,
        application_name="customers-cli",
    ) as postgres:
        yield postgres


@asynccontextmanager
async def migrated_database(
    settings: Settings,
    *,
    command_timeout_seconds: float = COMMAND_TIMEOUT_SECONDS,
    pool_size_max: int = 1,
) -> AsyncIterator[Postgres]:
    """As `database`. Raises Failed where it does not have this release's shape."""
    async with database(
        settings,
        command_timeout_seconds=command_timeout_seconds,
        pool_size_max=pool_size_max,
    ) as postgres:
        if await missing_migrations(postgres):
            raise Failed("The database is not migrated: run `customers migrate`.")
        yield postgres
