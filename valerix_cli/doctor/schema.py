"""Comparison of the schema of each database with the one that this version needs."""

import psycopg

from valerix_cli.audit.queries.databases import Connection
from valerix_cli.doctor.environment import Setup
from valerix_cli.doctor.findings import AGAIN, Finding, Subject
from valerix_cli.local.schema import applied, numbered


def check(conn: Connection, setup: Setup, service: str, database: str) -> Finding:
    try:
        found = applied(conn)
    except psycopg.errors.UndefinedTable:
        found = set()
    migrate = AGAIN if setup.directory else f"VALERIX_DATABASE_URL=… python -m services.{service}.migrate"
    return evaluate(Subject("schema", database), numbered(service), found, migrate)


def evaluate(about: Subject, expected: set[int], found: set[int], migrate: str) -> Finding:
    """Evaluate missing and unexpected migrations."""
    if missing := expected - found:
        return about.failed(f"It lacks migration {_named(missing)}: the service is not ready without.", migrate)
    if more := found - expected:
        return about.warning(
            f"It has migration {_named(more)}, which this version of valerix does not know.",
            "valerix version; use the one that made it",
        )
    return about.ok(f"At version {max(expected, default=0)}, as this code expects.")


def _named(numbers: set[int]) -> str:
    return ", ".join(f"{number:04}" for number in sorted(numbers))
