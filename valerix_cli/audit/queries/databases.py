"""The identity of a database, and helpers shared by all queries."""

from typing import Any, LiteralString, TypeAlias

import psycopg
from psycopg.rows import TupleRow

from valerix_cli.audit.model import MAX_EXAMPLES, Example, Finding

Connection: TypeAlias = psycopg.Connection[TupleRow]


def platform(conn: Connection) -> str | None:
    """Return the platform's id; None if the schema is too old to have one."""
    if not has_table(conn, "platform_identity"):
        return None
    row = conn.execute("SELECT id::text FROM platform_identity").fetchone()
    return row[0] if row else None


def identity(conn: Connection) -> str:
    """Return the identity of this database as the order service writes it into cached responses."""
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


def has_table(conn: Connection, table: str) -> bool:
    """Return True if the table exists and the role may read it."""
    row = conn.execute(
        "SELECT to_regclass(%(table)s) IS NOT NULL AND has_table_privilege(%(table)s, 'SELECT')", {"table": table}
    ).fetchone()
    return bool(row and row[0])


def find_examples(
    conn: Connection, query: LiteralString, population: LiteralString | None = None, **parameters: Any
) -> Finding:
    """Run a query that returns rows of subject, violation and total number; `population` counts the rows checked."""
    rows = conn.execute(query, {"shown": MAX_EXAMPLES, **parameters}).fetchall()
    checked = count(conn, population) if population else 0
    return Finding(checked, rows[0][2] if rows else 0, [Example(row[0], row[1]) for row in rows])


def count(conn: Connection, query: LiteralString) -> int:
    row = conn.execute(query).fetchone()
    return int(row[0]) if row else 0
