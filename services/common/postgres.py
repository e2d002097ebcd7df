"""PostgreSQL: one pool per process, and migrations as numbered SQL files."""

import asyncio
import contextlib
import functools
import time
from collections.abc import AsyncIterator, Awaitable
from importlib import resources
from importlib.resources.abc import Traversable
from typing import TypeAlias, TypeVar

import psycopg
from prometheus_client import Histogram
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from services.common.background import beside, forever
from services.common.refusals import DatabaseUnavailable

T = TypeVar("T")
Connection: TypeAlias = psycopg.AsyncConnection[TupleRow]

OUTAGES: tuple[type[Exception], ...] = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.IdleInTransactionSessionTimeout,  # we were stopped in mid transaction; psycopg calls it internal
    psycopg.errors.ReadOnlySqlTransaction,  # a standby, or a primary on its way to be one; the same
    PoolTimeout,
    PoolClosed,
)
"""The database cannot be reached, went away or gave up on us: worth a 503, not a traceback."""

POOL_WAIT = Histogram(
    "db_pool_wait_seconds",
    "Wait for a database connection",
    buckets=(0.0001, 0.001, 0.005, 0.025, 0.1, 0.5, 1, 2.5),
)

CHECK_EVERY = (
    0.5  # seconds between looks at idle connections, so that a restarted server is noticed before a caller pays
)
WAIT_AT_MOST = 2.0  # seconds a caller waits for a connection
_SESSION = (
    "-c statement_timeout=5s -c idle_in_transaction_session_timeout=2s -c timezone=UTC"
    " -c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off"
)
"""Our transactions never idle unless their process was stopped. The database ends such a one well before the
statements of others that wait for its locks reach their own limit, so those go on instead of failing with it.

What we look for we look up by an index, row by row. A plan that reads whole tables is made while they are small, and
kept while they grow, until PostgreSQL has analyzed them: for a minute, ever more was read for each order."""

_VANISHED = {"tcp_user_timeout": 5000, "keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3}
"""A server that vanishes without a word (its machine is gone) is noticed within seconds, not a quarter of an hour."""


class Pool(AsyncConnectionPool[Connection]):
    """The pool of psycopg, telling how long callers waited."""

    async def getconn(self, timeout: float | None = None) -> Connection:  # noqa: ASYNC109 - psycopg_pool's own signature
        began = time.perf_counter()
        try:
            return await super().getconn(timeout)
        finally:
            POOL_WAIT.observe(time.perf_counter() - began)


@contextlib.asynccontextmanager
async def open_pool(url: str, *, name: str, size: int) -> AsyncIterator[Pool]:
    """A pool of up to `size` connections that mends itself within a second of the server's return.

    Each statement is a transaction, which saves the two trips that begin and commit one, unless `conn.transaction()`
    has begun one.
    """
    pool = Pool(
        url,
        kwargs={
            "options": _SESSION,
            "connect_timeout": 2,
            "application_name": name,
            "autocommit": True,
            **_VANISHED,
        },
        min_size=size,
        max_size=size,
        timeout=WAIT_AT_MOST,
        reconnect_timeout=1.0,
        open=False,
        name=name,
    )
    await pool.open()
    try:
        async with beside(forever("check the pool", lambda: _check(pool), CHECK_EVERY)):
            yield pool
    finally:
        await pool.close()


async def in_time(committed: Awaitable[T]) -> T:
    """Wait for a commit. Raises DatabaseUnavailable for one that waits for others that wait for a database away."""
    try:
        return await committed
    except TimeoutError:
        raise DatabaseUnavailable("The database took too long; repeat the same request", retry_after=1) from None


async def _check(pool: Pool) -> None:
    """Replace idle connections that the server has dropped."""
    with contextlib.suppress(*OUTAGES):
        await pool.check()


class OutdatedSchema(Exception):  # noqa: N818 - named for the reason, as the house does
    """The database has not been brought to what this code expects."""


async def check_schema(pool: Pool, package: str) -> None:
    """Raise unless the database answers within a second, and has every migration of `package`; it may have more."""
    async with asyncio.timeout(1), pool.connection() as conn:
        cursor = await conn.execute("SELECT max(version) FROM schema_migrations")
        (version,) = await cursor.fetchone() or (None,)
    if (version or 0) < (expected := _version(_migrations(package)[-1])):
        raise OutdatedSchema(f"it is at version {version or 0}, this code needs {expected}: run {package}.migrate")


LOCK = 0x76616C65  # "vale": one advisory lock per database, whoever migrates it

_TABLE = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    version integer PRIMARY KEY,
    name text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""


def migrate(url: str, package: str) -> list[str]:
    """Apply the numbered files of `package`'s `schema` folder that are not yet applied, each in a transaction.

    Returns the names applied. Safe to run from many processes at once.
    """
    with psycopg.connect(url, autocommit=True, connect_timeout=5) as conn:
        conn.execute("SELECT pg_advisory_lock(%s)", [LOCK])
        conn.execute(_TABLE)
        done = {row[0] for row in conn.execute("SELECT version FROM schema_migrations")}
        fresh = [file for file in _migrations(package) if _version(file) not in done]
        for file in fresh:
            with conn.transaction():
                conn.execute(file.read_bytes())
                conn.execute(
                    "INSERT INTO schema_migrations (version, name) VALUES (%s, %s)", [_version(file), file.name]
                )
    return [file.name for file in fresh]


@functools.cache
def _migrations(package: str) -> list[Traversable]:
    """The numbered files of a package, first one first."""
    folder = resources.files(package) / "schema"
    return sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name)


def _version(migration: Traversable) -> int:
    return int(migration.name[:4])
