"""The roles and databases of the services on a PostgreSQL that may be anybody's, made as often as one likes."""

from psycopg import Connection, Error, connect, conninfo, sql

from valerix_cli.errors import UnreachableError
from valerix_cli.local.state import AUDITOR, INVENTORY_DB, ORDER_DB, Secrets

OWNERS = {"order_service": ORDER_DB, "inventory_service": INVENTORY_DB}
"""Each service's role and the database it owns; the other service may not even connect to it."""

_ENCRYPTION = b"scram-sha-256"


def make_databases(admin_url: str, secrets: Secrets) -> dict[str, str]:
    """Make, or bring up to date, the services' roles and databases and the auditor who may read both.

    `admin_url` is a connection string of somebody who may create roles and databases. Passwords are sent as SCRAM
    verifiers, so no log of the server can hold one. Returns the connection string of each service's role.
    Raises UnreachableError.
    """
    passwords = {
        "order_service": secrets.order_password,
        "inventory_service": secrets.inventory_password,
        AUDITOR: secrets.auditor_password,
    }
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
            "The databases could not be made.",
            str(error),
            "where VALERIX_DATABASE_URL is set, it must name a role that may create roles and databases",
        ) from error
    return {
        owner: at_database(admin_url, database, user=owner, password=passwords[owner])
        for owner, database in OWNERS.items()
    }


def at_database(url: str, database: str, *, user: str | None = None, password: str | None = None) -> str:
    """The same server as `url`, as a connection string for another database, and another user if one is named."""
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
    """What is there now, and what the owner makes later."""
    auditor = sql.Identifier(AUDITOR)
    admin.execute(sql.SQL("GRANT SELECT ON ALL TABLES IN SCHEMA public TO {}").format(auditor))
    admin.execute(
        sql.SQL("ALTER DEFAULT PRIVILEGES FOR ROLE {} IN SCHEMA public GRANT SELECT ON TABLES TO {}").format(
            sql.Identifier(owner), auditor
        )
    )
