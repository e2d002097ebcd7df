"""Snapshots of both databases, taken at three moments."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import psycopg

from valerix_cli.audit import queries
from valerix_cli.audit.queries.databases import Connection
from valerix_cli.connections import connect
from valerix_cli.contexts.model import Context
from valerix_cli.errors import CliError, GuardError, UnreachableError
from valerix_cli.quoting import toml_table
from valerix_cli.reasons import why

STATEMENT_TIMEOUT = 120.0  # seconds; a million orders take ten
_OPTIONS = "-c default_transaction_read_only=on -c work_mem=64MB -c max_parallel_workers_per_gather=0 -c timezone=UTC"


@dataclass(frozen=True)
class Sources:
    """Connection strings of order_db and inventory_db for the role `auditor`, which can only read them.

    `redis` is the URL of the services' cache, None if unknown.
    """

    orders: str
    inventory: str
    redis: str | None = None


@dataclass(frozen=True)
class Snapshots:
    """Orders, inventory, and orders again, each a transaction with a snapshot taken in this order.

    Orders confirmed in the first must be deducted in the second, and deductions in the second must have orders in the
    third, however many orders are in flight. `history` shares the snapshot of `after` on a separate connection.
    """

    before: Connection
    inventory: Connection
    after: Connection
    history: Connection


@contextmanager
def take_snapshots(sources: Sources) -> Iterator[Snapshots]:
    """Take the snapshots in order. Raises UnreachableError, also for a database without Valerix's tables."""
    with ExitStack() as stack:
        before = stack.enter_context(_open_snapshot(sources.orders, "orders"))
        inventory = stack.enter_context(_open_snapshot(sources.inventory, "inventory_transactions"))
        after = stack.enter_context(_open_snapshot(sources.orders, "orders"))
        name = after.execute("SELECT pg_export_snapshot()").fetchone()
        history = stack.enter_context(_open_snapshot(sources.orders, "orders", snapshot=name[0] if name else None))
        yield Snapshots(before, inventory, after, history)


@contextmanager
def _open_snapshot(url: str, table: str, snapshot: str | None = None) -> Iterator[Connection]:
    try:
        with connect(
            url, limit=STATEMENT_TIMEOUT, options=_OPTIONS, connect_timeout=5, application_name="valerix-audit"
        ) as conn:
            conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            if snapshot:
                conn.execute(psycopg.sql.SQL("SET TRANSACTION SNAPSHOT {}").format(psycopg.sql.Literal(snapshot)))
            if not queries.databases.has_table(conn, table):  # the first statement, which takes the snapshot
                raise UnreachableError(
                    f"Database {conn.info.dbname} cannot be audited.",
                    f"it has no table {table} that {conn.info.user} may read",
                    "valerix up, which makes the databases and the auditor",
                )
            yield conn
    except psycopg.Error as error:
        raise _unfinished(error) from error


def _unfinished(error: psycopg.Error) -> CliError:
    return UnreachableError("The audit could not be finished.", why(error), "valerix status")


def find_sources(context: Context) -> Sources:
    """Return the databases that the auditor of `context` reads. Raises GuardError if they are not known."""
    if context.order_database and context.inventory_database:
        return Sources(context.order_database, context.inventory_database, context.redis)
    if context.is_local:
        raise GuardError(
            "Not audited.", f"the auditor's password: {context.token_origin}", "run it as the user who ran valerix up"
        )
    raise GuardError(
        "Not audited.",
        f"the context `{context.name}` has no auditor's addresses of the databases",
        f"set order_database_env and inventory_database_env of {toml_table(context.name)}",
    )
