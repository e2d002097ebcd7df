"""Access to databases, and servers of other owners."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from tests.platform.installation import Installation
from valerix_cli.local.databases import make_databases
from valerix_cli.local.schema import is_current
from valerix_cli.local.servers import PostgresServer
from valerix_cli.local.stack import Secrets, read_secrets

TABLES = {"order_db": "orders", "inventory_db": "inventory"}


def test_every_role_accesses_its_own_database_and_the_auditor_reads_both(platform: Installation) -> None:
    secrets = read_secrets(platform.directory)
    assert secrets
    server = f"host=127.0.0.1 port={platform.stack.databases['postgres'].port}"
    for database, table in TABLES.items():
        auditor = f"{server} dbname={database} user=auditor password={secrets.auditor_password}"
        with psycopg.connect(auditor, autocommit=True) as conn:
            conn.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table)))
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table)))
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(f"{server} dbname=inventory_db user=order_service password={secrets.order_password}")
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(f"{server} dbname=order_db user=inventory_service password={secrets.inventory_password}")


def test_a_schema_is_current_only_after_every_migration_file(order_database: str, inventory_database: str) -> None:
    urls = {"order_service": order_database, "inventory_service": inventory_database}
    assert is_current(urls)
    with psycopg.connect(order_database) as conn:
        conn.execute("DELETE FROM schema_migrations WHERE version = 1")
    assert not is_current(urls)
    assert not is_current(urls | {"order_service": order_database.replace("127.0.0.1", "127.0.0.2")})


@pytest.fixture
def clerk(postgres_server: PostgresServer) -> Iterator[str]:
    """URL of a role on our server that can create roles and databases, and nothing more."""
    with psycopg.connect(postgres_server.url("postgres"), autocommit=True) as admin:
        admin.execute("CREATE ROLE clerk LOGIN CREATEROLE CREATEDB PASSWORD 'clerk'")
        yield postgres_server.url("postgres", user="clerk", password="clerk")
        for database in TABLES:
            admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database)))
        for role in ("order_service", "inventory_service", "auditor", "clerk"):
            admin.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(role)))


def test_creating_databases_on_another_server_is_idempotent(clerk: str) -> None:
    secrets = Secrets.generate()
    urls = make_databases(clerk, secrets.database_passwords)
    assert make_databases(clerk, secrets.database_passwords) == urls
    for owner, url in urls.items():
        with psycopg.connect(url) as conn:
            assert conn.execute("SELECT current_user::text").fetchone() == (owner,)
            conn.execute("CREATE TABLE made_later (id int)")
        with psycopg.connect(
            psycopg.conninfo.make_conninfo(url, user="auditor", password=secrets.auditor_password)
        ) as conn:
            conn.execute("SELECT FROM made_later")


def test_changed_passwords_are_set_on_the_server(clerk: str) -> None:
    make_databases(clerk, Secrets.generate().database_passwords)
    for url in make_databases(clerk, Secrets.generate().database_passwords).values():
        psycopg.connect(url).close()
