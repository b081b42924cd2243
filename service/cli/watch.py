"""Keeps an eye on the database behind a role: reachable, migrated, sealed with our key, one epoch.

Invariant: a process never works on a log that is not the one it began with, nor with a key that is
not the database's. Where the database cannot be asked yet, the process waits, and is not ready.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import structlog

from service.errors import ConfigurationError, Corrupt, Unavailable
from service.event_log import EventLog
from service.master_key import KeySource, MasterKey, check_master_key
from service.migrations import SQL, missing_migrations
from service.postgres import Postgres
from service.telemetry import Check, Metrics

WATCH_SECONDS = 5.0
RETRY_SECONDS = 0.5
FIRST_LOOK_SECONDS = 2.0


def broker_check(bootstrap_servers: str) -> Check:
    """Whether any of the servers takes connections: cheap, and needs no Kafka client."""
    addresses = [_address(server) for server in bootstrap_servers.split(",")]

    async def is_reachable() -> bool:
        for host, port in addresses:
            with suppress(OSError):
                _, writer = await asyncio.open_connection(host, port)
                writer.close()
                return True
        return False

    return is_reachable


def _address(server: str) -> tuple[str, int]:
    """Raises ConfigurationError."""
    host, colon, port = server.strip().rpartition(":")
    if not colon or not port.isdecimal():
        raise ConfigurationError("CUSTOMERS_KAFKA_BOOTSTRAP_SERVERS is wrong: give host:port.")
    return host.strip("[]"), int(port)


class Watch:
    """What a role must know of its database, and its checks for readiness."""

    def __init__(
        self, postgres: Postgres, key: MasterKey, source: KeySource, metrics: Metrics
    ) -> None:
        self._postgres = postgres
        self._log = EventLog(postgres)
        self._key = key
        self._source = source
        self._metrics = metrics
        self._epoch: str | None = None  # Invariant: known once migrations and key were checked
        self._missing: str | None = None  # the code of what was told last
        self._has_looked = asyncio.Event()

    def epoch(self) -> str:
        """Names the log that positions belong to. Raises Unavailable while it is not known."""
        if self._epoch is None:
            raise Unavailable("database_unavailable", "The database cannot be reached.")
        return self._epoch

    async def run(self, stop: asyncio.Event) -> None:
        """Raises ConfigurationError and Corrupt for a database that is not ours to work with."""
        while not stop.is_set():
            pause_seconds = WATCH_SECONDS
            try:
                await self._look()
            except Unavailable as error:
                pause_seconds = RETRY_SECONDS if self._epoch is None else WATCH_SECONDS
                self._tell(error)
            else:
                self._tell(None)
            self._has_looked.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_seconds):
                    await stop.wait()

    async def looked(self) -> None:
        """Return once `run` has looked at the database, whatever came of it; after
        FIRST_LOOK_SECONDS in any case, for whoever only wants to be told that it is away."""
        with suppress(TimeoutError):
            async with asyncio.timeout(FIRST_LOOK_SECONDS):
                await self._has_looked.wait()

    @property
    def checks(self) -> dict[str, Check]:
        return {"database": self._is_reachable, "migrations": self._is_migrated}

    async def _look(self) -> None:
        """Raises Unavailable, ConfigurationError and Corrupt."""
        if self._epoch is None and not await self._is_ours():
            detail = "The database is not prepared: run `customers migrate`."
            raise Unavailable("database_not_ready", detail)
        head = await self._log.head()
        if self._epoch not in {None, head.epoch}:
            raise Corrupt("The log was restored or replaced under this process: start it anew.")
        self._epoch = head.epoch
        self._metrics.log_appended_position.set(head.position)

    def _tell(self, error: Unavailable | None) -> None:
        """Log what is missing when that changes, and that nothing is any more."""
        code = None if error is None else error.code
        if code == self._missing:
            return
        self._missing = code
        log = structlog.get_logger()
        if error is None:
            log.info("database_back")
        else:
            log.warning("database_lost", code=error.code, detail=error.detail)

    async def _is_ours(self) -> bool:
        if await missing_migrations(self._postgres):
            return False
        return await check_master_key(self._postgres, self._key, self._source)

    async def _is_reachable(self) -> bool:
        """By a question that needs nothing to be migrated."""
        return await self._postgres.fetch_one(bool, SQL["history_exists"]) is not None

    async def _is_migrated(self) -> bool:
        """Looked at until it was so once: migrations only go forward.

        Who is told yes may send requests at once, and they need the epoch. Raises as `_look`.
        """
        if self._epoch is None:
            await self._look()
        return True
