"""Checks for pending migrations, so that a start without any need not wait for them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from valerix_cli import bundled
from valerix_cli.local.topology import MIGRATIONS

if TYPE_CHECKING:  # psycopg is loaded while the databases start
    from psycopg import Connection


def is_current(database_urls: Mapping[str, str]) -> bool:
    """Return whether every numbered SQL file of every service is recorded as applied in its database.

    `database_urls` has the connection string of each service's role. False if a database cannot be read.
    """
    return all(numbered(kind.name) <= _applied_at(database_urls[kind.role]) for kind, _ in MIGRATIONS)


def numbered(service: str) -> set[int]:
    """Return the numbers of a service's files, services/<service>/schema/NNNN_*.sql, without importing it."""
    return {int(file.name[:4]) for file in (bundled.ROOT / "services" / service / "schema").glob("[0-9]*.sql")}


def applied(conn: "Connection[Any]") -> set[int]:
    """Return the numbers recorded as applied. Raises psycopg.Error, also if no migration has run."""
    return {version for (version,) in conn.execute("SELECT version FROM schema_migrations")}


def _applied_at(url: str) -> set[int]:
    from psycopg import Error, connect  # noqa: PLC0415 - loaded while the databases start

    try:
        with connect(url, connect_timeout=5) as conn:
            return applied(conn)
    except Error:
        return set()
