"""Every setting, read from the environment (and a `.env` file), validated before anything starts.

Invariant: a name that is no setting, or a value that cannot be meant, ends the start with one
sentence, and no sentence, listing or log ever shows a secret. Only composition roots read this.
"""

from __future__ import annotations

import os
import sys
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Literal, Self, TypeAlias

from dotenv import dotenv_values
from pydantic import (
    AfterValidator,
    Field,
    FilePath,
    SecretStr,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.database_url import MASK, checked_url, mask_url, with_parameters
from service.errors import ConfigurationError

PREFIX = "CUSTOMERS_"
PREFIX_OF_TESTS = "CUSTOMERS_TEST_"
ENV_FILE = Path(".env")

Delivery: TypeAlias = Literal["exactly-once", "at-least-once"]
SecurityProtocol: TypeAlias = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism: TypeAlias = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
LogLevel: TypeAlias = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
Port: TypeAlias = Annotated[int, Field(ge=0, le=65_535)]
PostgresUrl: TypeAlias = Annotated[
    str, StringConstraints(pattern=r"^postgres(ql)?://"), AfterValidator(checked_url)
]
WebUrl: TypeAlias = Annotated[str, StringConstraints(pattern=r"^https?://[^/]")]


def default_data_directory() -> Path:
    """Where this user keeps application data.

    Root's is in /var/lib: an embedded PostgreSQL gives up root's rights and must be let through
    every parent folder, which is harmless there and would open /root.
    """
    if os.geteuid() == 0:
        return Path("/var/lib/customers")
    if sys.platform == "darwin":
        return Path("~/Library/Application Support/customers").expanduser()
    return Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser() / "customers"


class Settings(BaseSettings):
    """One field per setting; its name in the environment is CUSTOMERS_ and the field's name."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        extra="ignore",  # other programs' names in `.env`; ours are checked by read_settings
        frozen=True,
        hide_input_in_errors=True,
    )

    http_host: str = Field("127.0.0.1", description="address to listen on")
    http_port: Port | None = Field(
        None,
        description="port to listen on; 0 takes a free one; unset: `up` and `api` 8080,"
        " `relay` 8081, `projections` 8082, `intake` 8083",
    )
    http_workers: int = Field(
        1, ge=1, le=64, description="processes of `api` behind the one port; `--workers` wins"
    )
    rate_limit_per_second: int = Field(
        0, ge=0, description="requests a token may make per second in one process; 0: no limit"
    )

    database_url: PostgresUrl | None = Field(
        None,
        repr=False,
        description="PostgreSQL as postgresql://…, TLS by `sslmode`; unset: `up` brings its own",
    )
    database_pool_size_max: int = Field(
        10, ge=3, le=1_000, description="connections that one process may hold"
    )
    database_statement_cache: bool = Field(
        True, description="false behind PgBouncer before 1.21, which loses prepared statements"
    )
    database_tls_ca_file: FilePath | None = Field(
        None, description="CA certificates for PostgreSQL; set: TLS with `sslmode=verify-full`"
    )

    kafka_bootstrap_servers: str | None = Field(
        None, description="Kafka as host:port[,host:port…]; unset: `up` brings its own"
    )
    kafka_delivery: Delivery | None = Field(
        None,
        description="`exactly-once`, or `at-least-once`, where a repeat, which only a crash can"
        " make, shows by its position; unset: `exactly-once`, but `at-least-once` on the broker"
        " that `up` brings and without idempotence",
    )
    kafka_idempotence: bool = Field(
        True, description="false for brokers that refuse idempotent producers"
    )
    kafka_security_protocol: SecurityProtocol = Field(
        "PLAINTEXT", description="`PLAINTEXT`, `SSL`, `SASL_PLAINTEXT` or `SASL_SSL`"
    )
    kafka_sasl_mechanism: SaslMechanism = Field(
        "SCRAM-SHA-512", description="`PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`"
    )
    kafka_sasl_username: str | None = Field(None, description="user for SASL")
    kafka_sasl_password: SecretStr | None = Field(None, description="password for SASL")
    kafka_tls_ca_file: FilePath | None = Field(
        None, description="CA certificates for Kafka; unset: the system's"
    )
    kafka_tls_certificate_file: FilePath | None = Field(
        None, description="client certificate for Kafka, with its key's file"
    )
    kafka_tls_key_file: FilePath | None = Field(None, description="key of the client certificate")
    kafka_topic_prefix: Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9._-]{0,100}$")] = (
        Field("", description="put before every topic's name, to share a cluster")
    )
    kafka_partitions: int = Field(
        6, ge=1, le=10_000, description="partitions of the topics of events and states"
    )
    kafka_replication_factor: int = Field(
        1, ge=1, le=15, description="replicas of a topic that `migrate` creates; 3 for production"
    )
    kafka_retention_hours: int = Field(
        168, ge=1, description="how long the events topic keeps a record"
    )

    projection_modules: Annotated[str, StringConstraints(pattern=r"^([\w.]+(,[\w.]+)*)?$")] = Field(
        "", description="modules of projections that are added: package.module[,package.module…]"
    )

    data_directory: Path = Field(
        default_factory=default_data_directory,
        description="what `up` stores, and the master key; unset: for root /var/lib/customers,"
        " else the user's application data",
    )
    master_key_file: Path | None = Field(
        None, description="file of the master key; unset: `master.key` in the data directory"
    )
    master_key: SecretStr | None = Field(
        None, description="the master key itself, as in that file; wins over it"
    )
    default_currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] = Field(
        "USD", description="currency (ISO 4217) of tenants made without one"
    )
    log_level: LogLevel = Field("INFO", description="`DEBUG`, `INFO`, `WARNING` or `ERROR`")
    traces: bool = Field(
        False,
        description="true: traces are sent by OTLP over HTTP, as OTEL_… variables say; needs the"
        " extra `traces`",
    )
    shutdown_timeout_seconds: float = Field(
        10.0, gt=0, le=300, description="from SIGTERM to the end of a process"
    )

    jwt_jwks_url: WebUrl | None = Field(
        None, description="where the issuer of JWTs publishes its keys; set: JWTs are accepted"
    )
    jwt_public_key_file: FilePath | None = Field(
        None, description="the issuer's one public key (PEM, RSA or Ed25519) instead of a URL"
    )
    jwt_issuer: str | None = Field(None, description="`iss` that a JWT must carry")
    jwt_audience: str | None = Field(None, description="`aud` that a JWT must carry")
    jwt_tenant_claim: str = Field("tenant", description="claim with the tenant's name")
    jwt_scope_claim: str = Field("scope", description="claim with scopes: spaced text, or a list")
    jwt_leeway_seconds: float = Field(
        30.0, ge=0, le=300, description="how far the issuer's clock may be off"
    )

    @model_validator(mode="after")
    def _agree(self) -> Self:
        for complaint, is_so in (
            ("CUSTOMERS_JWT_JWKS_URL and CUSTOMERS_JWT_PUBLIC_KEY_FILE exclude each other",
             self.jwt_jwks_url is not None and self.jwt_public_key_file is not None),
            ("JWTs need CUSTOMERS_JWT_ISSUER and CUSTOMERS_JWT_AUDIENCE",
             self.accepts_jwt and (self.jwt_issuer is None or self.jwt_audience is None)),
            ("SASL needs CUSTOMERS_KAFKA_SASL_USERNAME and CUSTOMERS_KAFKA_SASL_PASSWORD",
             self.kafka_security_protocol.startswith("SASL")
             and (self.kafka_sasl_username is None or self.kafka_sasl_password is None)),
            ("CUSTOMERS_KAFKA_DELIVERY=exactly-once needs CUSTOMERS_KAFKA_IDEMPOTENCE=true",
             self.kafka_delivery == "exactly-once" and not self.kafka_idempotence),
            ("CUSTOMERS_KAFKA_TLS_CERTIFICATE_FILE and CUSTOMERS_KAFKA_TLS_KEY_FILE go together",
             (self.kafka_tls_certificate_file is None) != (self.kafka_tls_key_file is None)),
        ):  # fmt: skip
            if is_so:
                raise ValueError(complaint)
        return self

    @property
    def accepts_jwt(self) -> bool:
        return self.jwt_jwks_url is not None or self.jwt_public_key_file is not None

    @property
    def master_key_path(self) -> Path:
        return (self.master_key_file or self.data_directory / "master.key").expanduser()

    def delivery(self, *, is_embedded: bool) -> Delivery:
        """What is in effect. Raises ConfigurationError where the broker of `up` is asked for what
        it does not have."""
        if is_embedded and self.kafka_delivery == "exactly-once":
            raise ConfigurationError(
                "CUSTOMERS_KAFKA_DELIVERY=exactly-once needs transactions, which the broker that"
                " `customers up` brings does not have: unset it, or name a Kafka in"
                " CUSTOMERS_KAFKA_BOOTSTRAP_SERVERS."
            )
        if self.kafka_delivery is not None:
            return self.kafka_delivery
        return "exactly-once" if self.kafka_idempotence and not is_embedded else "at-least-once"

    def require_database_dsn(self) -> str:
        """`database_url` with the CA file worked in; ConfigurationError where there is none."""
        if self.database_url is None:
            raise ConfigurationError(
                "CUSTOMERS_DATABASE_URL is not set: give it as postgresql://user@host/database,"
                " or use `customers up`, which brings a database of its own."
            )
        if self.database_tls_ca_file is None:
            return self.database_url
        tls = [("sslmode", "verify-full"), ("sslrootcert", str(self.database_tls_ca_file))]
        return with_parameters(self.database_url, tls)

    def require_kafka_bootstrap_servers(self) -> str:
        if self.kafka_bootstrap_servers is None:
            raise ConfigurationError(
                "CUSTOMERS_KAFKA_BOOTSTRAP_SERVERS is not set: give it as host:port,"
                " or use `customers up`, which brings a broker of its own."
            )
        return self.kafka_bootstrap_servers

    def shown(self) -> dict[str, str | int | float | bool | None]:
        """Every setting by its name in the environment; secrets as a mask."""
        return {setting_name(field): _shown(getattr(self, field)) for field in field_names()}


def field_names() -> tuple[str, ...]:
    return tuple(Settings.model_fields)


def setting_name(field: str) -> str:
    return PREFIX + field.upper()


def read_settings(env_file: Path = ENV_FILE) -> Settings:
    """The settings of this process. Raises ConfigurationError: one sentence, without values."""
    _refuse_unknown_names(env_file)
    try:
        return Settings(_env_file=env_file)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False, include_context=False)
        raise ConfigurationError("; ".join(map(_fault, faults)) + ".") from None


def _shown(value: object) -> str | int | float | bool | None:
    match value:
        case None | bool() | int() | float():
            return value
        case SecretStr():
            return MASK
        case str() if "://" in value:
            return mask_url(value)
        case _:
            return str(value)


def _refuse_unknown_names(env_file: Path) -> None:
    known = {setting_name(field) for field in field_names()}
    try:
        names = [*os.environ, *dotenv_values(env_file, interpolate=False)]
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{env_file} cannot be read: {type(error).__name__}.") from None
    for name in map(str.upper, names):
        if not name.startswith(PREFIX) or name.startswith(PREFIX_OF_TESTS) or name in known:
            continue
        close = get_close_matches(name.removeprefix(PREFIX), map(str.upper, field_names()), n=1)
        hint = (
            f"did you mean {PREFIX}{close[0]}?" if close else "`customers config` lists them all."
        )
        raise ConfigurationError(f"{name} is not a setting: {hint}")


def _fault(fault: ErrorDetails) -> str:
    message = fault["msg"].removeprefix("Value error, ")
    if not fault["loc"]:
        return message
    name = setting_name(str(fault["loc"][0]))
    return f"{name} is wrong: {message[:1].lower()}{message[1:]}"
