"""Connections of commands to PostgreSQL, which do not hang if the server hangs or another session holds a lock."""

from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.rows import TupleRow

RV = TypeVar("RV")

POLL = 0.1  # seconds, as psycopg does


class LimitedConnection(psycopg.Connection[TupleRow]):
    """psycopg's connection, closed if the server sends nothing for `limit` seconds: raises psycopg.OperationalError."""

    limit: float

    def wait(self, gen: PQGen[RV], interval: float = POLL, timeout: float | None = None) -> RV:
        try:
            return super().wait(gen, interval, self.limit if timeout is None else timeout)
        except psycopg.errors._WaitTimeout:  # noqa: SLF001 - has no public name; a test notices when it is another
            self.close()
            raise psycopg.OperationalError(f"the database gave no answer within {self.limit:g} s") from None


def connect(url: str, *, limit: float, **settings: Any) -> LimitedConnection:
    """Connect as psycopg does. Each statement, and each further part of its result, may take `limit` seconds."""
    connection = LimitedConnection.connect(url, **settings)
    connection.limit = limit
    return connection
