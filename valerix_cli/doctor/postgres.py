"""Connections to any PostgreSQL, and the check of its version."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

from valerix_cli.audit.queries.databases import Connection
from valerix_cli.connections import connect
from valerix_cli.doctor.findings import Finding, Subject
from valerix_cli.local.binaries import OLDEST_POSTGRES
from valerix_cli.local.external import DATABASE_URL

GRACE = 1.0  # seconds beyond the server's own limit, which an unresponsive one does not keep
_SHORTEST = 2  # seconds: libpq's minimum


@contextmanager
def reading(url: str, within: float) -> Iterator[Connection]:
    """Yield a read-only connection, with a timeout of `within` seconds per statement. Raises psycopg.Error."""
    options = f"-c default_transaction_read_only=on -c statement_timeout={within * 1000:.0f}"
    limit = max(_SHORTEST, math.ceil(within))
    with connect(
        url,
        limit=within + GRACE,
        options=options,
        connect_timeout=limit,
        application_name="valerix-doctor",
        autocommit=True,
    ) as conn:
        yield conn


def evaluate_version(about: Subject, number: int, where: str) -> Finding:
    """Evaluate PostgreSQL's `server_version_num`: 180006 for 18.6."""
    major, minor = divmod(number, 10_000)
    summary = f"PostgreSQL {major}.{minor} on {where}."
    if major < OLDEST_POSTGRES:
        hint = f"unset {DATABASE_URL}, for the PostgreSQL that comes with Valerix"
        return about.failed(f"{summary} It must be {OLDEST_POSTGRES} or newer.", hint)
    return about.ok(summary)
