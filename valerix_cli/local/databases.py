"""The roles and databases of the services, created on any PostgreSQL; idempotent.

`python -m valerix_cli.local.databases` creates them in VALERIX_DATABASE_URL, with ORDER_PASSWORD,
INVENTORY_PASSWORD and AUDITOR_PASSWORD: a cluster runs it before its first migration.
"""

import os
import sys
from collections.abc import Mapping

from psycopg import Connection, Error, connect, conninfo, sql

from valerix_cli.errors import BadUsageError, CliError, UnreachableError
from valerix_cli.local.environment import forget_libpq
from valerix_cli.local.stack import AUDITOR, INVENTORY_DB, ORDER_DB
from valerix_cli.output import print_error
from valerix_cli.reasons import why

OWNERS = {"order_service": ORDER_DB, "inventory_service": INVENTORY_DB}
"""Each service's role and its database; other services may not connect to it."""

_ENCRYPTION = b"scram-sha-256"


def make_databases(admin_url: str, passwords: Mapping[str, str]) -> dict[str, str]:
    """Create or update the services' roles and databases, and the auditor, who may read both.

    `admin_url` is the connection string of a role that may create roles and databases; `passwords` has one per role.
    They are sent as SCRAM verifiers, so no log of the server can contain one. Returns the connection string of each
    service's role. Raises UnreachableError.
    """
    try:
        with connect(admin_url, autocommit=True, connect_timeout=5) as admin:
            for role, password in passwords.items():
                _make_role(admin, role, password)
            for owner, database in OWNERS.items():
                _make_database(admin, database, owner)
        for owner, database in OWNERS.items():
            with connect(at_database(admin_url, database), autocommit=True, connect_timeout=5) as admin:
                _let_auditor_read(admin, owner)
    except Error as error:
        raise UnreachableError(
            "The databases could not be created.",
            why(error),
            "where VALERIX_DATABASE_URL is set, it must name a role that may create roles and databases",
        ) from error
    return {
        owner: at_database(admin_url, database, user=owner, password=passwords[owner])
        for owner, database in OWNERS.items()
    }


def at_database(url: str, database: str, *, user: str | None = None, password: str | None = None) -> str:
    """Return a connection string for another database on the same server, optionally for another user."""
    who = {} if user is None else {"user": user, "password": password}
    return conninfo.make_conninfo(url, dbname=database, **who)


def _make_role(admin: Connection, role: str, password: str) -> None:
    name = sql.Identifier(role)
    known = admin.execute("SELECT FROM pg_roles WHERE rolname = %s", [role]).fetchone()
    if known is None:
        admin.execute(sql.SQL("CREATE ROLE {}").format(name))
    verifier = admin.pgconn.encrypt_password(password.encode(), role.encode(), _ENCRYPTION).decode()
    admin.execute(sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(name, sql.Literal(verifier)))


def _make_database(admin: Connection, database: str, owner: str) -> None:
    name, role = sql.Identifier(database), sql.Identifier(owner)
    if admin.execute("SELECT FROM pg_database WHERE datname = %s", [database]).fetchone() is None:
        if admin.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone() != (True,):
            admin.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(role))
        admin.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(name, role))
    admin.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(name))
    admin.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(name, sql.Identifier(AUDITOR)))


def _let_auditor_read(admin: Connection, owner: str) -> None:
    """Grant the auditor SELECT on the owner's tables, present and future."""
    auditor = sql.Identifier(AUDITOR)
    admin.execute(sql.SQL("GRANT SELECT ON ALL TABLES IN SCHEMA public TO {}").format(auditor))
    admin.execute(
        sql.SQL("ALTER DEFAULT PRIVILEGES FOR ROLE {} IN SCHEMA public GRANT SELECT ON TABLES TO {}").format(
            sql.Identifier(owner), auditor
        )
    )


def main(environ: Mapping[str, str]) -> None:
    """Run the command; an error exits with its code."""
    named = {"order_service": "ORDER_PASSWORD", "inventory_service": "INVENTORY_PASSWORD", AUDITOR: "AUDITOR_PASSWORD"}
    url = environ.get("VALERIX_DATABASE_URL")
    missing = [variable for variable in ("VALERIX_DATABASE_URL", *named.values()) if not environ.get(variable)]
    try:
        if missing or not url:
            raise BadUsageError("The databases were not created.", f"{missing[0]} is not set", "set it")
        make_databases(url, {role: environ[variable] for role, variable in named.items()})
    except CliError as error:
        print_error(error)
        sys.exit(error.code)


if __name__ == "__main__":
    forget_libpq()
    main(os.environ)
