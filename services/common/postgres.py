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
    psycopg.errors.IdleInTransactionSessionTimeout,  # we were stopped in mid transaction; psycopg calls it internal
    psycopg.errors.ReadOnlySqlTransaction,  # a standby, or a primary on its way to be one; the same
    PoolTimeout,
    PoolClosed,
)
"""The database cannot be reached, went away or gave up on us: worth a 503, not a traceback."""

CHECK_EVERY = (
    0.5  # seconds between looks at idle connections, so that a restarted server is noticed before a caller pays
)
WAIT_AT_MOST = 2.0  # seconds a caller waits for a connection
_VANISHED: dict[str, Any] = {
    "tcp_user_timeout": 5000,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
}
"""A server that vanishes without a word (its machine is gone) is noticed within seconds, not a quarter of an hour."""


@contextlib.asynccontextmanager
async def open_pool(url: str, *, name: str, size: int, pooled: bool = False) -> AsyncIterator[Pool]:
    """A pool of up to `size` connections that mends itself within a second of the server's return.

    Each statement is a transaction, which saves the two trips that begin and commit one, unless `conn.transaction()`
    has begun one.

    `pooled` says that `url` is that of a pooler in transaction mode. Nothing is then asked of a session as it begins,
    which PgBouncer refuses, and no statement is prepared, which it loses before version 1.21.
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
    """Wait for a commit. Raises DatabaseUnavailable for one that waits for others that wait for a database away."""
    try:
        return await committed
    except TimeoutError:
        raise DatabaseUnavailable("The database took too long; repeat the same request", retry_after=1) from None


async def _try(step: Callable[[], Awaitable[None]]) -> None:
    """Take a step that needs the database; without it there is another one soon."""
    with contextlib.suppress(*OUTAGES):
        await step()


SCHEMA_LIMIT = 1.0  # seconds to wait for a connection, and again for the answer


class OutdatedSchema(Exception):  # noqa: N818 - named for the reason, as the house does
    """The database has not been brought to what this code expects."""


async def check_schema(pool: Pool, package: str) -> None:
    """Raise unless the database answers within two seconds, and has every migration of `package`; it may have more.

    Raises WrongSession where its sessions are not set to what this code relies on.
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
    """Log once that the schema is newer: the next version leaves what this code uses as it is, later ones may not."""
    why = f"it is at version {version}, {package} knows versions up to {expected}"
    log.warning("the database's schema is newer than this code", why=why)


MIGRATION_LIMIT = 900.0  # seconds that one statement may take
TURN_LIMIT = 300.0  # seconds to wait for others that migrate
TABLE_LOCK_LIMIT = 30.0  # seconds to wait for a table, during which others wait behind us
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
    """The numbered files of a package, first one first."""
    folder = resources.files(package) / "schema"
    return sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name)


def _version(migration: Traversable) -> int:
    return int(migration.name[:4])
