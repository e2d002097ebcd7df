"""Checks of both databases as the auditor: connection, version, durability, permissions, schema and clock."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import psycopg

from valerix_cli.audit.queries.databases import Connection, has_table
from valerix_cli.doctor import clock, database_url, durability, schema
from valerix_cli.doctor.environment import Setup
from valerix_cli.doctor.findings import AGAIN, UP, CheckTask, Finding, Subject, one_line, skipped_without_platform
from valerix_cli.doctor.postgres import evaluate_version, reading
from valerix_cli.doctor.processes import silent
from valerix_cli.local.external import DATABASE_URL
from valerix_cli.local.stack import INVENTORY_DB, ORDER_DB
from valerix_cli.quoting import toml_table, word
from valerix_cli.units import format_duration

_POSTGRES, _SCHEMA = Subject("databases", "postgres"), Subject("schema", "schema")
_CLOCK = Subject("clock", "clock")
_WRONG_PASSWORD = "password authentication failed"  # noqa: S105 - a message of PostgreSQL # nosec B105


@dataclass(frozen=True)
class AuditedDatabase:
    """A service's database, a table that identifies it, and the auditor's address."""

    service: str
    name: str
    table: str
    url: str | None


def check_tasks(setup: Setup) -> list[CheckTask]:
    context = setup.context
    if context is None:
        url = setup.environ.get(DATABASE_URL)
        rest = (_SCHEMA, _CLOCK)
        return (
            [database_url.task(setup, url), skipped_without_platform(*rest)]
            if url
            else [skipped_without_platform(_POSTGRES, *rest)]
        )
    databases = (
        AuditedDatabase("order", ORDER_DB, "orders", context.order_database),
        AuditedDatabase("inventory", INVENTORY_DB, "inventory_transactions", context.inventory_database),
    )
    return [
        CheckTask(Subject("databases", one.name), partial(_task, setup, one), _given(setup, one)) for one in databases
    ]


def _task(setup: Setup, database: AuditedDatabase) -> Iterator[Finding]:
    about, about_schema = Subject("databases", database.name), Subject("schema", database.name)
    if database.url is None:
        if setup.directory:
            yield about.skipped("The auditor's password cannot be read.")
        else:
            yield about.skipped("The context does not say how to read it.", _given(setup, database))
        yield about_schema.skipped("It cannot be read.")
        return
    try:
        with reading(database.url, setup.limits.answer) as conn:
            yield _evaluate(conn, about, database)
            yield from durability.check(conn, database.name)
            yield schema.check(conn, setup, database.service, database.name)
            if database.service == "order":
                yield clock.of_database(conn, setup)
    except psycopg.Error as error:
        yield _unreachable(setup, about, database, error)
        yield about_schema.skipped("It cannot be read.")


def _evaluate(conn: Connection, about: Subject, database: AuditedDatabase) -> Finding:
    began = time.monotonic()
    if not has_table(conn, database.table):
        return about.failed(f"{conn.info.user} cannot read the table {database.table} there.", UP)
    where = f"{conn.info.host}:{conn.info.port}, answered in {format_duration(time.monotonic() - began)}"
    return evaluate_version(about, conn.info.server_version, where)


def _given(setup: Setup, database: AuditedDatabase) -> str:
    """Return how to set the auditor's database, or the log to read."""
    if setup.directory:
        return "valerix logs postgres"
    return f"set {database.service}_database_env of {toml_table(setup.name)}, and export the variable that it names"


def _unreachable(setup: Setup, about: Subject, database: AuditedDatabase, error: psycopg.Error) -> Finding:
    found = f"It cannot be read: {one_line(error)}"
    server = setup.stack.databases.get("postgres") if setup.stack else None
    if server is None:
        return about.failed(found, _given(setup, database))
    if _WRONG_PASSWORD in str(error):
        return about.failed(found, AGAIN)  # a start resets the roles' passwords to the stored ones
    elsewhere = f"pg_isready -h {word(server.host)} -p {server.port}"
    return silent(about, server.pid, found, elsewhere if server.kind == "external" else "valerix logs postgres")
