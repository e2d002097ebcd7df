"""Whether there is anything to migrate, so that services need not wait for migrations that have nothing to do."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from valerix_cli import bundled
from valerix_cli.local.topology import MIGRATIONS

if TYPE_CHECKING:  # psycopg is loaded while the databases start
    from psycopg import Connection


def is_current(database_urls: Mapping[str, str]) -> bool:
    """Whether every numbered SQL file of every service is among those that its database says were applied.

    `database_urls` has the connection string of each service's role. Where it cannot be told the answer is no.
    """
    return all(numbered(kind.name) <= _applied_at(database_urls[kind.role]) for kind, _ in MIGRATIONS)


def numbered(service: str) -> set[int]:
    """The numbers of the service's files: services/<service>/schema/NNNN_*.sql. Nothing of it is imported."""
    return {int(file.name[:4]) for file in (bundled.ROOT / "services" / service / "schema").glob("[0-9]*.sql")}


def applied(conn: "Connection[Any]") -> set[int]:
    """The numbers that the database says were applied. Raises psycopg.Error, also where none ever was."""
    return {version for (version,) in conn.execute("SELECT version FROM schema_migrations")}


def _applied_at(url: str) -> set[int]:
    from psycopg import Error, connect  # noqa: PLC0415 - loaded while the databases start

    try:
        with connect(url, connect_timeout=5) as conn:
            return applied(conn)
    except Error:
        return set()
