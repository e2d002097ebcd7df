"""Connections to PostgreSQL with client-side time limits, and the pool that replaces those that exceed one.

A frozen backend, or a middlebox that has dropped a connection, never responds: no time limit of the server applies,
and the kernel sees no error. So each wait has a limit here. A connection that exceeds it is closed, and it is unknown
whether its statement took effect.

There is one other reason for a silent server: a commit waits for a synchronous standby that does not respond.
PostgreSQL has no limit for that wait and does not notice that the client has disconnected. Replacing such connections
endlessly would use up all of the server's. So the pool queries the state of the backends it gave up, and while their
commits wait, new writes are refused at once.
"""

import asyncio
import time
from typing import Any, TypeVar

import psycopg
import structlog
from prometheus_client import Counter, Gauge, Histogram
from psycopg import waiting
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolTimeout

log = structlog.get_logger()

RV = TypeVar("RV")

STATEMENT_LIMIT = 3.0
"""Seconds that a statement may take. Longer than the server's limit for an idle transaction, so that statements that
wait for the locks of a stopped process continue instead of failing with it."""
CHECK_LIMIT = 1.0  # seconds for an idle connection to respond
CANCEL_LIMIT = 0.3  # seconds to send the server a request to cancel, and again for it to do so
LOOK_LIMIT = 1.0  # seconds to query the state of abandoned statements
AT_ONCE = 0.01  # seconds for connections that should be idle
POLL = 0.1  # seconds, as psycopg does

POOL_WAIT = Histogram(
    "db_pool_wait_seconds",
    "Wait for a database connection",
    buckets=(0.0001, 0.001, 0.005, 0.025, 0.1, 0.5, 1, 2.5),
)
TIMEOUTS = Counter("db_statement_timeouts_total", "Connections closed because the database was silent for too long")
COMMITS_HELD_UP = Gauge(
    "db_commits_held_up", "Commits of this process that wait for a synchronous standby after it gave up on them"
)


HELD_UP = "Writes do not commit: a synchronous standby is unreachable. Try again later; with the same key"

REFUSALS = Counter(
    "db_write_refusals_total", "Writes that the database, or the wait for its standby, refused", ["reason"]
)
REFUSED: dict[type[psycopg.Error], str] = {
    psycopg.errors.ReadOnlySqlTransaction: "read-only",
    psycopg.errors.DiskFull: "disk-full",
}
REMEMBERED = 5.0  # seconds for which health reports a refused write
for _reason in ("held-up", *REFUSED.values()):
    REFUSALS.labels(_reason)


class StatementTimeout(psycopg.OperationalError):
    """The database did not respond within the limit; whether the statement took effect is unknown."""


class CommitsHeldUp(psycopg.OperationalError):
    """Commits wait for a synchronous standby that does not respond; another one would wait, too."""


class Connection(psycopg.AsyncConnection[TupleRow]):
    """psycopg's connection, closed if one of its statements takes longer than `limit` seconds, or is cancelled."""

    limit = STATEMENT_LIMIT
    pool: "Pool | None" = None

    async def wait(self, gen: PQGen[RV], interval: float = POLL, timeout: float | None = None) -> RV:  # noqa: ASYNC109 - psycopg's own signature
        """Wait for the server. Raises StatementTimeout.

        psycopg's own method has no limit, and gives a server ten seconds to cancel the statement of a cancelled task.
        """
        limit = self.limit if timeout is None else timeout
        try:
            return await waiting.wait_async(gen, self.pgconn.socket, interval=interval, timeout=limit)
        except psycopg.errors._WaitTimeout:  # noqa: SLF001 - has no public name; a test notices when it is another
            TIMEOUTS.inc()
            self._give_up()
            raise StatementTimeout(f"no answer from the database within {limit:g} s") from None
        except psycopg.Error as error:
            if self.pool is not None and (reason := REFUSED.get(type(error))):
                self.pool.note_refused(reason)
            if self.closed and not isinstance(error, psycopg.OperationalError):  # the response was invalid
                raise psycopg.OperationalError(repr(error)) from error
            raise
        except Exception as error:
            self._give_up()
            raise psycopg.OperationalError(f"the connection broke: {error!r}") from error
        except asyncio.CancelledError:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                await self._cancel(gen)
            raise

    async def _cancel(self, gen: PQGen[Any]) -> None:
        """Cancel a statement on the server; close the connection unless that is done at once."""
        try:
            await self.cancel_safe(timeout=CANCEL_LIMIT)
            await waiting.wait_async(gen, self.pgconn.socket, interval=POLL, timeout=CANCEL_LIMIT)
        except psycopg.errors.QueryCanceled:
            return
        except psycopg.Error:
            self._give_up()
        except BaseException:  # cancelled again
            self._give_up()
            raise

    def _give_up(self) -> None:
        if self.pool is not None:
            self.pool.note_given_up(self.pgconn.backend_pid)
        self.pgconn.finish()


class BlockingConnection(psycopg.Connection[TupleRow]):
    """psycopg's connection for commands, closed if one of its statements takes longer than `limit` seconds."""

    limit = STATEMENT_LIMIT

    def wait(self, gen: PQGen[RV], interval: float = POLL, timeout: float | None = None) -> RV:
        """Wait for the server. Raises StatementTimeout."""
        try:
            return super().wait(gen, interval, self.limit if timeout is None else timeout)
        except psycopg.errors._WaitTimeout:  # noqa: SLF001 - as above
            self.close()
            raise StatementTimeout(f"no answer from the database within {self.limit:g} s") from None


class Pool(AsyncConnectionPool[Connection]):
    """psycopg's pool, with the time that callers waited and whether commits are held up.

    `pooled`: connections go through a pooler.
    """

    def __init__(self, *args: Any, pooled: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.pooled = pooled
        self._given_up: set[int] = set()  # backends whose statements may still run
        self._held_up = 0
        self._refused, self._refused_at = "", -REMEMBERED

    async def getconn(self, timeout: float | None = None) -> Connection:  # noqa: ASYNC109 - psycopg_pool's own signature
        began = time.perf_counter()
        try:
            conn = await super().getconn(timeout)
        finally:
            POOL_WAIT.observe(time.perf_counter() - began)
        conn.limit, conn.pool = STATEMENT_LIMIT, self
        return conn

    async def check(self) -> None:
        """Replace idle connections that do not respond, concurrently, so that dead ones do not delay each other."""
        idle = self.get_stats().get("pool_available", 0)
        await asyncio.gather(*(self._check_one() for _ in range(max(idle, 1))))  # a request makes the pool grow again

    @property
    def is_held_up(self) -> bool:
        """True if a new write would wait for a standby that does not respond."""
        return self._held_up > 0

    @property
    def remark(self) -> str | None:
        """The reason why writes are unavailable, as a message; None if they are available."""
        if self._held_up:
            return f"writes do not commit: {self._held_up} wait for a synchronous standby"
        if time.monotonic() - self._refused_at < REMEMBERED:
            return f"the database refuses writes: {self._refused}"
        return None

    def ensure_commits(self) -> None:
        """Raise CommitsHeldUp if a write would wait for a standby that does not respond."""
        if self._held_up:
            REFUSALS.labels("held-up").inc()
            raise CommitsHeldUp(self.remark or "")

    def note_refused(self, reason: str) -> None:
        """Record a write that the database refused, for health."""
        REFUSALS.labels(reason).inc()
        self._refused, self._refused_at = reason, time.monotonic()

    def note_given_up(self, backend: int) -> None:
        """Record a backend whose client has disconnected, for the next check."""
        self._given_up.add(backend)

    async def look_for_held_up(self) -> None:
        """Query the state of the abandoned backends. Raises one of `postgres.OUTAGES` if the server does not respond.

        A pooler hides the pids of backends. Behind one, every commit that has waited for a standby for a second counts,
        including those of other processes.
        """
        pids = frozenset(self._given_up)
        if not pids:
            return
        async with self.connection(LOOK_LIMIT) as conn:
            conn.limit = LOOK_LIMIT
            cursor = await conn.execute(
                """
                SELECT pid, coalesce(wait_event = 'SyncRep', false) FROM pg_stat_activity
                WHERE usename = current_user AND datname = current_database() AND state = 'active'
                AND CASE WHEN %s THEN wait_event = 'SyncRep' AND query_start < now() - interval '1 second'
                         ELSE pid = ANY(%s) END
                """,
                [self.pooled, list(pids)],
            )
            found: dict[int, bool] = dict(await cursor.fetchall())
        self._given_up = (self._given_up - pids) | found.keys()
        held_up = sum(found.values())
        if bool(held_up) != self.is_held_up:
            log.warning("commits wait for a synchronous standby" if held_up else "commits complete", commits=held_up)
        self._held_up = held_up
        COMMITS_HELD_UP.set(held_up)

    async def _check_one(self) -> None:
        try:
            conn = await super().getconn(AT_ONCE)
        except PoolTimeout:  # all are in use
            return
        try:
            conn.limit, conn.pool = CHECK_LIMIT, self
            await conn.execute("")
        except psycopg.OperationalError as error:
            log.info("database connection replaced", error=repr(error))
        finally:
            await self.putconn(conn)
