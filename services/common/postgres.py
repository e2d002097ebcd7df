"""PostgreSQL: one pool per process, and migrations as numbered SQL files."""

import contextlib
import functools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any, TypeVar

import psycopg
import structlog
from psycopg_pool import PoolClosed, PoolTimeout

from services.common import sessions
from services.common.background import background_tasks, run_periodically
from services.common.connections import BlockingConnection, Connection, Pool
from services.common.refusals import DatabaseUnavailable

__all__ = ["LOCK", "OUTAGES", "Connection", "Pool", "check_schema", "in_time", "migrate", "open_pool"]

log = structlog.get_logger()

T = TypeVar("T")

OUTAGES: tuple[type[Exception], ...] = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.IdleInTransactionSessionTimeout,  # this process was stopped in mid transaction
    psycopg.errors.ReadOnlySqlTransaction,  # a standby, or a primary that is becoming one; the same
    PoolTimeout,
    PoolClosed,
)
"""The database is unreachable, has disconnected or has ended a transaction: a 503 without a traceback."""

CHECK_EVERY = (
    0.5  # seconds between checks of idle connections, so that a restarted server is noticed before a request fails
)
WAIT_AT_MOST = 2.0  # seconds that a caller waits for a connection
_VANISHED: dict[str, Any] = {
    "tcp_user_timeout": 5000,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
}
"""A server that disappears (its machine is down) is detected within seconds, not a quarter of an hour."""


@contextlib.asynccontextmanager
async def open_pool(url: str, *, name: str, size: int, pooled: bool = False) -> AsyncIterator[Pool]:
    """Yield a pool of up to `size` connections that recovers within a second of the server's return.

    Each statement is a transaction, which saves two round trips, to begin and to commit, except within
    `conn.transaction()`.

    `pooled`: `url` is that of a pooler in transaction mode. No session settings are then requested at the start, which
    PgBouncer refuses, and no statement is prepared, which it loses before version 1.21.
    """
    own: dict[str, Any] = {"prepare_threshold": None} if pooled else {"options": sessions.options(sessions.SESSION)}
    pool = Pool(
        url,
        connection_class=Connection,
        kwargs={
            **own,
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
        pooled=pooled,
    )
    await pool.open()
    try:
        async with background_tasks(
            run_periodically("check the pool", lambda: _try(pool.check), CHECK_EVERY),
            run_periodically("look for commits that are held up", lambda: _try(pool.look_for_held_up), CHECK_EVERY),
        ):
            yield pool
    finally:
        await pool.close()


async def in_time(committed: Awaitable[T]) -> T:
    """Wait for a commit. Raises DatabaseUnavailable if it times out in the queue for an unavailable database."""
    try:
        return await committed
    except TimeoutError:
        raise DatabaseUnavailable("The database took too long; repeat the same request", retry_after=1) from None


async def _try(step: Callable[[], Awaitable[None]]) -> None:
    """Run a periodic step that needs the database; an outage is ignored."""
    with contextlib.suppress(*OUTAGES):
        await step()


SCHEMA_LIMIT = 1.0  # seconds to wait for a connection, and again for the query


class OutdatedSchema(Exception):  # noqa: N818 - named for the reason, as the house does
    """The schema of the database is older than this code requires."""


async def check_schema(pool: Pool, package: str) -> None:
    """Raise unless the database responds within two seconds and has every migration of `package`; it may have more.

    Raises WrongSession if its sessions lack settings that this code relies on.
    """
    async with pool.connection(SCHEMA_LIMIT) as conn:
        conn.limit = SCHEMA_LIMIT
        cursor = await conn.execute("SELECT version FROM schema_migrations")
        applied = {version for (version,) in await cursor.fetchall()}
        await sessions.check(conn, pooled=pool.pooled, package=package)
    expected = [_version(migration) for migration in _migrations(package)]
    if missing := [version for version in expected if version not in applied]:
        raise OutdatedSchema(f"it lacks migration {missing[0]:04}: run {package}.migrate")
    if (newest := max(applied)) > expected[-1]:
        _note_newer_schema(package, newest, expected[-1])


@functools.cache
def _note_newer_schema(package: str, version: int, expected: int) -> None:
    """Log once that the schema is newer. The next version's is compatible with this code, later ones may not be."""
    why = f"it is at version {version}, {package} knows versions up to {expected}"
    log.warning("the database's schema is newer than this code", why=why)


MIGRATION_LIMIT = 900.0  # seconds per statement
TURN_LIMIT = 300.0  # seconds to wait for a concurrent migration
TABLE_LOCK_LIMIT = 30.0  # seconds to wait for a table's lock, during which other sessions wait, too
ASK_AGAIN = 0.2  # seconds

LOCK = 0x76616C65  # "vale": one advisory lock per database

_TABLE = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    version integer PRIMARY KEY,
    name text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""


def migrate(url: str, package: str) -> list[str]:
    """Apply the numbered files of `package`'s `schema` folder that are not yet applied, each in a transaction.

    Returns the names applied. Safe to run from many processes at once. Stores the session settings with the role,
    even if no file is applied: a copy of the database does not have them, and a dump only if it creates the database
    (`pg_restore --create`). Raises psycopg.OperationalError if the database is unreachable or does not respond, another
    process migrates for too long, or the connection goes through a pooler.
    """
    options = sessions.options({**sessions.UNLIMITED, "lock_timeout": f"{TABLE_LOCK_LIMIT:.0f}s"})
    with BlockingConnection.connect(url, autocommit=True, connect_timeout=5, options=options, **_VANISHED) as conn:
        _refuse_pooler(conn)
        _wait_for_turn(conn)
        conn.execute(_TABLE)
        conn.limit = MIGRATION_LIMIT
        done = {row[0] for row in conn.execute("SELECT version FROM schema_migrations")}
        fresh = [file for file in _migrations(package) if _version(file) not in done]
        for file in fresh:
            with conn.transaction():
                conn.execute(file.read_bytes())
                conn.execute(
                    "INSERT INTO schema_migrations (version, name) VALUES (%s, %s)", [_version(file), file.name]
                )
        sessions.store(conn)
    return [file.name for file in fresh]


def _refuse_pooler(conn: BlockingConnection) -> None:
    """Refuse a pooler: a lock taken through it stays with the pooler's session, which then serves other clients."""
    if sessions.is_shared(conn, (conn.execute("SELECT pg_backend_pid()").fetchone() or (None,))[0]):
        raise psycopg.OperationalError("it is behind a pooler: migrate on the server itself")


def _wait_for_turn(conn: BlockingConnection) -> None:
    """Take the lock until the connection ends. Polling, unlike waiting, detects a frozen server."""
    deadline = time.monotonic() + TURN_LIMIT
    while conn.execute("SELECT pg_try_advisory_lock(%s)", [LOCK]).fetchone() != (True,):
        if time.monotonic() > deadline:
            raise psycopg.OperationalError(f"another process has migrated this database for {TURN_LIMIT:g} s")
        time.sleep(ASK_AGAIN)


@functools.cache
def _migrations(package: str) -> list[Traversable]:
    """Return the numbered files of a package in order."""
    folder = resources.files(package) / "schema"
    return sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name)


def _version(migration: Traversable) -> int:
    return int(migration.name[:4])
