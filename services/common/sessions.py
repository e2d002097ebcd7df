"""Sets and checks the PostgreSQL session settings of a service.

A service that connects to the server directly requests these settings when it connects. Through a pooler in
transaction mode that has no effect: the server's session belongs to the pooler, and passes from one client to the
next. So migrations also store the settings with the service's role, for its database: the server applies them to every
session of that role. A service is not ready while its session lacks one of them.
"""

from collections.abc import Mapping

from psycopg import sql

from services.common.connections import BlockingConnection, Connection

SESSION: Mapping[str, str] = {
    "statement_timeout": "5s",
    "idle_in_transaction_session_timeout": "2s",
    "client_connection_check_interval": "1s",
    "TimeZone": "UTC",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}
"""Our transactions never idle unless their process was stopped. The server ends such a transaction well before the time
limit of statements that wait for its locks, so those continue instead of failing with it.

A statement whose client has closed its connection ends within a second and releases its locks.

All our queries look rows up by an index. A plan with sequential scans is chosen while tables are small, and cached
while they grow, until PostgreSQL has analyzed them: for a minute, each order would read more and more rows."""

UNLIMITED: Mapping[str, str] = {
    name: "on" if value == "off" else "0" for name, value in SESSION.items() if name != "TimeZone"
}
"""Session settings of a migration instead: no time limit, since it may read whole tables."""


class WrongSession(Exception):  # noqa: N818 - named for the reason, as the house does
    """A session with the database lacks settings that this code relies on."""


def options(settings: Mapping[str, str]) -> str:
    """Return `settings` as connection options of libpq. They override those that are stored with the role."""
    return " ".join(f"-c {name}={value}" for name, value in settings.items())


def store(conn: BlockingConnection) -> None:
    """Store SESSION for all new sessions of the current role in this database.

    Does nothing for a superuser, which is not the role of a service and has other uses.
    """
    if conn.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone() == (True,):
        return
    database = sql.Identifier(conn.info.dbname)
    for name, value in SESSION.items():
        setting = sql.SQL("{} = {}").format(sql.Identifier(name), sql.Literal(value))
        conn.execute(sql.SQL("ALTER ROLE CURRENT_USER IN DATABASE {} SET {}").format(database, setting))


async def check(conn: Connection, *, pooled: bool, package: str) -> None:
    """Raise WrongSession unless this session has the settings of SESSION and, unless `pooled`, is not a pooler's."""
    cursor = await conn.execute(
        "SELECT name, current_setting(name), pg_backend_pid() FROM unnest(%s::text[]) AS name", [list(SESSION)]
    )
    rows = await cursor.fetchall()
    if not pooled and is_shared(conn, rows[0][2]):
        raise WrongSession("it is behind a pooler: set VALERIX_DATABASE_POOLED=1")
    if wrong := {name: value for name, value, _ in rows if value != SESSION[name]}:
        name, value = next(iter(wrong.items()))
        hint = f"run {package}.migrate as this role, then RECONNECT the pooler"
        raise WrongSession(f"its sessions have {name} = {value}, not {SESSION[name]}: {hint}")


def is_shared(conn: Connection | BlockingConnection, backend: int | None) -> bool:
    """Return whether a pooler is between this process and the server process `backend`: poolers report other pids."""
    return conn.info.backend_pid != backend
