"""The border to PostgreSQL: a pool, typed rows, named statements. The one room with asyncpg."""

from service.postgres.driver_errors import ConstraintViolated
from service.postgres.pool import (
    COMMAND_TIMEOUT_SECONDS,
    POOL_SIZE_MAX,
    Postgres,
    Reader,
    Row,
    RowMaker,
    Transaction,
)
from service.postgres.statements import load_statements

__all__ = [
    "COMMAND_TIMEOUT_SECONDS",
    "POOL_SIZE_MAX",
    "ConstraintViolated",
    "Postgres",
    "Reader",
    "Row",
    "RowMaker",
    "Transaction",
    "load_statements",
]
