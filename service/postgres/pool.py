"""A pool of connections, and typed rows.

Invariants: no session state is ever left on a connection, so everything works behind PgBouncer in
transaction mode; every statement has a time limit; a database error leaves here as one of ours.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Protocol, TypeAlias, TypeVar

import asyncpg
from asyncpg.pool import PoolConnectionProxy
from typing_extensions import override

from service.errors import ConfigurationError, ConnectionLost, Unavailable
from service.postgres.driver_errors import LINK_BROKE, our_errors, unreachable

Row = TypeVar("Row")
# The driver's columns are untyped; the row's own constructor is where they get their types.
RowMaker: TypeAlias = Callable[..., Row]  # type: ignore[explicit-any]

COMMAND_TIMEOUT_SECONDS = 10.0  # any one statement of a serving process
CONNECT_TIMEOUT_SECONDS = 5.0
RELEASE_TIMEOUT_SECONDS = 2.0  # for the server to let go of a cancelled statement
ACQUIRE_TIMEOUT_SECONDS = 3.0  # waiting for a free connection of the pool
POOL_SIZE_MAX = 10
IDLE_CONNECTION_SECONDS = 300.0
REST_MS_MAX = 1_000  # of a transaction that others wait for: a statement, or a pause between two
BRIEF_MS_MAX = 2_000  # all that is left of it; where the server can tell, from PostgreSQL 17 on

_UNREADABLE = (
    "CUSTOMERS_DATABASE_URL, a variable PG… of PostgreSQL's own, or a file that one of them names,"
    " has a value that cannot be used."
)
_SET_ARGUMENT = "SELECT set_config($1, $2, true)"  # to the end of the transaction
_SET_LIMITS = """
SELECT set_config(name, value || 'ms', true)
FROM unnest($1::text[], $2::text[]) AS bound (name, value)
WHERE current_setting(name, true) IS NOT NULL  -- the server knows it
"""


class _Connection(asyncpg.Connection):
    """A connection that needs no clean-up query: nothing here leaves session state behind."""

    @override
    def get_reset_query(self) -> str:
        return ""


class Transaction:
    """Statements inside one transaction; ends with its `async with` block."""

    def __init__(self, connection: PoolConnectionProxy[asyncpg.Record]) -> None:
        self._connection = connection

    async def execute(self, sql: str, *arguments: object) -> str:
        """Run one statement, or a script when there are no arguments; the command tag."""
        with our_errors():
            return await self._connection.execute(sql, *arguments)

    async def fetch(self, row: RowMaker[Row], sql: str, *arguments: object) -> list[Row]:
        with our_errors():
            return [row(*record) for record in await self._connection.fetch(sql, *arguments)]

    async def be_brief(self) -> None:
        """Before it takes what everybody waits for: from here on the server ends it where it, or
        this process, stands still for REST_MS_MAX, or takes longer than BRIEF_MS_MAX in all.

        The next statement then raises Unavailable, perhaps ConnectionLost, and nothing was done;
        unless it is the commit, of which ConnectionLost does not tell.
        """
        limits = {
            "statement_timeout": REST_MS_MAX,
            "idle_in_transaction_session_timeout": REST_MS_MAX,
            "transaction_timeout": BRIEF_MS_MAX,
        }
        await self.fetch(str, _SET_LIMITS, [*limits], [str(each) for each in limits.values()])

    async def copy_in(
        self, schema: str, table: str, columns: Sequence[str], rows: Sequence[tuple[object, ...]]
    ) -> None:
        """COPY rows into a table, in the columns' binary form."""
        with our_errors():
            await self._connection.copy_records_to_table(
                table, schema_name=schema, columns=list(columns), records=rows
            )

    async def copy_in_encoded(
        self, schema: str, table: str, columns: Sequence[str], pieces: Iterable[bytes]
    ) -> None:
        """The same of rows that are in COPY's binary form already; a piece may end anywhere."""
        with our_errors():
            await self._connection.copy_to_table(
                table,
                schema_name=schema,
                columns=list(columns),
                source=_one_by_one(pieces),
                format="binary",
            )


async def _one_by_one(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    """As the driver takes them without a thread of its own."""
    for piece in pieces:
        yield piece


class Reader(Protocol):
    """What a room needs that only reads."""

    async def fetch(self, row: RowMaker[Row], sql: str, *arguments: object) -> list[Row]: ...


class Postgres:
    """A pool of connections. Owned by a composition root; safe to share between tasks."""

    def __init__(self, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        self._pool = pool

    @classmethod
    @asynccontextmanager
    async def connect(
        cls,
        database_url: str,
        *,
        pool_size_max: int = POOL_SIZE_MAX,
        command_timeout_seconds: float = COMMAND_TIMEOUT_SECONDS,
        statement_cache: bool = True,
        application_name: str = "customers",
    ) -> AsyncIterator[Postgres]:
        """A pool that opens its connections when first needed, so a start needs no database.

        `statement_cache=False` is for PgBouncer before 1.21, which loses prepared statements.
        """
        pool = asyncpg.create_pool(
            database_url,
            min_size=0,
            max_size=pool_size_max,
            command_timeout=command_timeout_seconds,
            timeout=CONNECT_TIMEOUT_SECONDS,
            max_inactive_connection_lifetime=IDLE_CONNECTION_SECONDS,
            statement_cache_size=1024 if statement_cache else 0,
            connection_class=_Connection,
            server_settings={"application_name": application_name, "jit": "off"},
        )
        async with pool:
            yield cls(pool)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[PoolConnectionProxy[asyncpg.Record]]:
        """A connection of the pool. Where none can be had, nothing was sent: Unavailable."""
        try:
            connection = await self._pool.acquire(timeout=ACQUIRE_TIMEOUT_SECONDS)
        except TimeoutError as error:
            if self._is_exhausted():
                detail = "Every connection to the database is in use."
                raise Unavailable("overloaded", detail) from error
            raise unreachable(error) from error
        except asyncpg.ClientConfigurationError:  # an InterfaceError, too
            raise ConfigurationError(_UNREADABLE) from None
        except (asyncpg.PostgresError, *LINK_BROKE, OSError) as error:
            raise unreachable(error) from error
        except ValueError:  # the driver could not read what it was given, and may repeat it
            raise ConfigurationError(_UNREADABLE) from None
        try:
            with our_errors():
                yield connection
        except ConnectionLost:
            with suppress(asyncpg.InterfaceError):  # the pool may have taken it back already
                connection.terminate()
            raise
        finally:
            # A statement that was cancelled is waited for; where the server does not let go of it,
            # the pool ends the link, and its complaint must not replace why we are leaving.
            with suppress(asyncpg.PostgresError, *LINK_BROKE):
                await self._pool.release(connection, timeout=RELEASE_TIMEOUT_SECONDS)

    def _is_exhausted(self) -> bool:
        """Whether all connections stand and are in use; else somebody is waiting for a new one."""
        return self._pool.get_size() == self._pool.get_max_size() and not self._pool.get_idle_size()

    async def fetch(self, row: RowMaker[Row], sql: str, *arguments: object) -> list[Row]:
        """Each record as `row(*columns)`: name every column, in the order of `row`'s fields."""
        async with self._connection() as connection:
            records = await connection.fetch(sql, *arguments)
        return [row(*record) for record in records]

    async def fetch_one(self, row: RowMaker[Row], sql: str, *arguments: object) -> Row | None:
        async with self._connection() as connection:
            record = await connection.fetchrow(sql, *arguments)
        return None if record is None else row(*record)

    async def execute(self, sql: str, *arguments: object) -> str:
        """Run one statement, or a script when there are no arguments; the command tag."""
        async with self._connection() as connection:
            return await connection.execute(sql, *arguments)

    async def copy_out(
        self, take: Callable[[bytes], None], sql: str, arguments: Mapping[str, str]
    ) -> None:
        """What a query returns, in COPY's text form, in pieces that end anywhere; none is read
        while `take` is at work. COPY takes no parameters: the query reads each of its arguments by
        `current_setting('customers.NAME')`. What `take` raises is raised once all is read."""

        refusal: list[Exception] = []

        async def output(piece: bytes) -> None:
            if not refusal:
                try:
                    take(piece)
                except Exception as error:
                    # Raised here, it would make the driver cancel the statement, and wait for ever
                    # for the answer where the server had just come to the end by itself.
                    refusal.append(error)

        async with self._connection() as connection, connection.transaction(readonly=True):
            for name, value in arguments.items():
                await connection.execute(_SET_ARGUMENT, f"customers.{name}", value)
            await connection.copy_from_query(sql, output=output)
        if refusal:
            raise refusal[0]

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """One transaction at READ COMMITTED; commits at the end of the block, else rolls back."""
        async with self._connection() as connection, connection.transaction():
            yield Transaction(connection)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Transaction]:
        """Statements that all see the database as it was at the first of them; nothing is written.

        Keep it short: an open snapshot holds VACUUM up everywhere.
        """
        async with (
            self._connection() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            yield Transaction(connection)

    @asynccontextmanager
    async def listening(self, channel: str, heard: Callable[[], None]) -> AsyncIterator[None]:
        """Call `heard` on every NOTIFY to `channel` while the block runs; a hint that may get lost.

        Behind PgBouncer in transaction mode nothing is ever heard; readers poll all the same. So
        they do where the link breaks meanwhile.
        """

        def on_notify(*_: object) -> None:
            heard()

        async with self._connection() as connection:
            try:
                await connection.add_listener(channel, on_notify)
            except asyncio.CancelledError:
                connection.terminate()  # it may listen already
                raise
            try:
                yield
            finally:
                await _stop_listening(connection, channel, on_notify)


async def _stop_listening(
    connection: PoolConnectionProxy[asyncpg.Record],
    channel: str,
    on_notify: Callable[[object, object, object, object], None],
) -> None:
    """Or end the link: one that went on listening would hear of every write to come."""
    try:
        async with asyncio.timeout(RELEASE_TIMEOUT_SECONDS):
            await connection.remove_listener(channel, on_notify)
    except (asyncpg.PostgresError, *LINK_BROKE, asyncio.CancelledError) as error:
        with suppress(asyncpg.InterfaceError):  # the pool may have taken it back already
            connection.terminate()
        if isinstance(error, asyncio.CancelledError):
            raise
