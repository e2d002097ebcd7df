"""Reading a PostgreSQL, whosever it is, and whether it is new enough."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

from valerix_cli.audit.queries.databases import Connection
from valerix_cli.connections import connect
from valerix_cli.doctor.findings import Finding, Subject
from valerix_cli.local.binaries import OLDEST_POSTGRES
from valerix_cli.local.external import DATABASE_URL

GRACE = 1.0  # seconds beyond the server's own limit, which a frozen one does not keep
_SHORTEST = 2  # seconds: libpq takes anything below for two


@contextmanager
def reading(url: str, within: float) -> Iterator[Connection]:
    """A connection that changes nothing, and whose statements take `within` seconds at most. Raises psycopg.Error."""
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
    """`number` as PostgreSQL itself has it: 180006 for 18.6."""
    major, minor = divmod(number, 10_000)
    summary = f"PostgreSQL {major}.{minor} on {where}."
    if major < OLDEST_POSTGRES:
        hint = f"unset {DATABASE_URL}, for the PostgreSQL that comes with Valerix"
        return about.failed(f"{summary} It must be {OLDEST_POSTGRES} or newer.", hint)
    return about.ok(summary)
