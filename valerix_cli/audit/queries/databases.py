"""Which database a connection leads to, and what all questions to one have in common."""

from typing import Any, LiteralString, TypeAlias

import psycopg
from psycopg.rows import TupleRow

from valerix_cli.audit.model import SHOWN, Example, Found

Connection: TypeAlias = psycopg.Connection[TupleRow]


def platform(conn: Connection) -> str | None:
    """Which platform these are the orders of; None where the schema is older."""
    if not is_ours(conn, "platform_identity"):
        return None
    row = conn.execute("SELECT id::text FROM platform_identity").fetchone()
    return row[0] if row else None


def identity(conn: Connection) -> str:
    """Which database this is, as the order service names it in what it caches."""
    row = conn.execute(
        """
        SELECT concat_ws('/', system_identifier,
                         CASE WHEN NOT pg_is_in_recovery() THEN left(pg_walfile_name(pg_current_wal_lsn()), 8) END,
                         (SELECT oid FROM pg_database WHERE datname = current_database()),
                         'orders'::regclass::oid, pg_relation_filenode('orders'),
                         extract(epoch FROM pg_postmaster_start_time()))
        FROM pg_control_system()
        """
    ).fetchone()
    return str(row[0]) if row else ""


def is_ours(conn: Connection, table: str) -> bool:
    """Whether the schema of a Valerix service is there, and may be read."""
    row = conn.execute(
        "SELECT to_regclass(%(table)s) IS NOT NULL AND has_table_privilege(%(table)s, 'SELECT')", {"table": table}
    ).fetchone()
    return bool(row and row[0])


def examples(
    conn: Connection, query: LiteralString, population: LiteralString | None = None, **parameters: Any
) -> Found:
    """Rows of subject, what is wrong, and how many there are altogether."""
    rows = conn.execute(query, {"shown": SHOWN, **parameters}).fetchall()
    checked = count(conn, population) if population else 0
    return Found(checked, rows[0][2] if rows else 0, [Example(row[0], row[1]) for row in rows])


def count(conn: Connection, query: LiteralString) -> int:
    row = conn.execute(query).fetchone()
    return int(row[0]) if row else 0
