"""The import of another server's databases by CloudNativePG, on two real servers: the objects it transfers.

The commands are the operator's (`pkg/management/postgres/logicalimport` of cloudnative-pg 1.27 and of August 2026): the
roles with their verifiers, then `pg_dump -Fd` and, section by section, `pg_restore`, as the superuser.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg import sql

from services.common.sessions import SESSION
from tests.faults.mutant_run import Buyers, Send
from tests.postgres_server import OwnServer, own_server, shop_on
from tests.processes import open_directory
from valerix_cli.audit import audit
from valerix_cli.journal import JournalWriter
from valerix_cli.local.databases import OWNERS
from valerix_cli.local.servers import ValkeyServer
from valerix_cli.local.stack import AUDITOR

SECTIONS = ("pre-data", "data", "post-data")

TABLES: LiteralString = """
SELECT schemaname || '.' || tablename FROM pg_tables WHERE schemaname IN ('public', 'private') ORDER BY 1
"""
LOOKS: dict[str, LiteralString] = {
    "sequences": "SELECT schemaname, sequencename, last_value FROM pg_sequences",
    "constraints": """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace IN ('public'::regnamespace, (SELECT oid FROM pg_namespace WHERE nspname = 'private'))""",
    "indexes": "SELECT indexdef FROM pg_indexes WHERE schemaname IN ('public', 'private')",
    "functions": "SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace",
    "owners": """
        SELECT relname, relkind, pg_get_userbyid(relowner) FROM pg_class
        WHERE relnamespace::regnamespace::text IN ('public', 'private')""",
    "owners of schemas": """
        SELECT nspname, pg_get_userbyid(nspowner), nspacl::text FROM pg_namespace
        WHERE nspname IN ('public', 'private')""",
    "grants": """
        SELECT relname, grantee::regrole::text, privilege_type FROM pg_class, aclexplode(relacl)
        WHERE relnamespace::regnamespace::text IN ('public', 'private')""",
    "grants of tables to come": """
        SELECT defaclrole::regrole::text, defaclnamespace::regnamespace::text, defaclobjtype, defaclacl::text
        FROM pg_default_acl""",
    "database": """
        SELECT datname, pg_get_userbyid(datdba), datacl::text, pg_encoding_to_char(encoding), datcollate, datctype
        FROM pg_database WHERE datname = current_database()""",
    "settings of roles": """
        SELECT setrole::regrole::text, setconfig::text FROM pg_db_role_setting
        WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())""",
    "roles": """
        SELECT rolname, rolcanlogin, rolsuper, rolcreatedb, rolcreaterole, rolpassword FROM pg_authid
        WHERE oid >= 16384""",
}


def contents(own: OwnServer, database: str) -> dict[str, list[Any]]:
    """Return the contents of a database by kind of object."""
    with psycopg.connect(own.server.url(database)) as conn:
        tables = [name for (name,) in conn.execute(TABLES)]
        rows = {
            name: sorted(conn.execute(sql.SQL("SELECT t::text FROM {} AS t").format(sql.Identifier(*name.split(".")))))
            for name in tables
        }
        return rows | {what: sorted(conn.execute(look), key=repr) for what, look in LOOKS.items()}


class Import:
    """Runs the operator's commands, as a user who can run PostgreSQL's programs."""

    def __init__(self, source: OwnServer, target: OwnServer, directory: Path) -> None:
        self.source, self.target, self._directory = source, target, directory

    def run(self) -> None:
        """Import with type `monolith`: all three roles and both databases."""
        self.roles()
        for database in OWNERS.values():
            self.dump(database)
        for database in OWNERS.values():
            for section in SECTIONS:
                made = ("--create", "-d", self.target.server.url("postgres"))
                there = ("-d", self.target.server.url(database))
                self.restore(database, *(made if section == "pre-data" else there), "--section", section)
        for database in OWNERS.values():
            self.target.tell("ANALYZE", database=database)

    def roles(self) -> None:
        with (
            psycopg.connect(self.source.server.url("postgres")) as source,
            psycopg.connect(self.target.server.url("postgres")) as target,
        ):
            for name, verifier in source.execute(
                "SELECT rolname, rolpassword FROM pg_authid WHERE oid >= 16384 ORDER BY 1"
            ):
                target.execute(
                    sql.SQL("CREATE ROLE {} WITH LOGIN INHERIT PASSWORD {} CONNECTION LIMIT -1").format(
                        sql.Identifier(name), sql.Literal(verifier)
                    )
                )

    def dump(self, database: str) -> None:
        sections = [f"--section={section}" for section in SECTIONS]
        self.source.run(
            "pg_dump", "-Fd", "-f", str(self._dump(database)), "-d", self.source.server.url(database), *sections
        )

    def restore(self, database: str, *options: str) -> None:
        self.target.run("pg_restore", "-U", "postgres", "--exit-on-error", *options, str(self._dump(database)))

    def _dump(self, database: str) -> Path:
        return self._directory / database


@pytest.fixture
def pair() -> Iterator[Import]:
    """A server with both databases, without orders, and an empty one with the same passwords."""
    with open_directory("import") as directory, own_server(directory / "source") as source:
        source.make()
        with own_server(directory / "target", source.passwords) as target:
            yield Import(source, target, source.give(directory / "dumps"))


@pytest.mark.long
def test_after_an_import_all_data_exists_and_the_services_continue(
    pair: Import, tmp_path: Path, valkey_server: ValkeyServer
) -> None:
    journal = tmp_path / "client.jsonl"
    sends = [Send(f"before-{number}", "ps5", 1 + number % 2, 0) for number in range(40)]
    with psycopg.connect(pair.source.server.url("order_db")) as conn:
        ((platform,),) = conn.execute("SELECT id::text FROM platform_identity").fetchall()

    with (
        shop_on(pair.source, tmp_path / "before", valkey_server.url(7)) as shop,
        JournalWriter(journal, "before", "before-", platform) as writer,
        ThreadPoolExecutor(8) as pool,
    ):
        shop.stock("ps5", 50)  # some are refused
        shop.services.start(*shop.everyone)
        first = Buyers(shop, writer, pool).send_all(sends)
        shop.chaos(crash_rate=1.0, seed=1)
        Buyers(shop, writer, pool).send_all([Send("before-waiting", "ps5", 1, 0)])
        for service in (*shop.orders, shop.worker, shop.inventory):  # the order of the stop commands in docs/deploy.md
            assert service.stop() == 0

    assert set(shop.statuses().values()) == {"confirmed", "failed", "queued"}, "there is something to compare"
    pair.run()
    for database in OWNERS.values():
        before = contents(pair.source, database)
        assert {what for what, there in before.items() if not there} <= {"functions"}, "the same"
        assert contents(pair.target, database) == before
    pair.target.make()  # the job `migrate` of the production overlay
    for database in OWNERS.values():
        after, before = contents(pair.target, database), contents(pair.source, database)
        assert {what for what in after if after[what] != before[what]} <= {"roles"}, "a verifier has a new salt"

    with shop_on(pair.target, tmp_path / "after", valkey_server.url(8)) as shop:
        shop.services.start(*shop.everyone)
        for send, answer in zip(sends, first, strict=True):
            assert answer is not None
            again = shop.place(send.item, send.quantity, key=send.key)
            assert (again.status_code, essence(again.json())) == (answer.status_code, essence(answer.json()))
        assert shop.place("ps5", 3, key="before-0").status_code == 422, "the same key for another order"
        shop.wait_settled(30)
        assert shop.place("ps5", 1, key="after-0").status_code in {201, 409}
        shop.assert_exactly_one_effect()
        found = audit(pair.target.sources, journal)
    assert found.verdict == "clean"
    assert found.compared.journal_keys == len(sends) + 1


def essence(answer: dict[str, Any]) -> dict[str, Any]:
    """Return a response without the fields that differ per request."""
    return {name: value for name, value in answer.items() if name not in {"instance", "request_id"}}


def settings(own: OwnServer) -> set[str]:
    """Return the settings stored for the roles of both services."""
    with psycopg.connect(own.server.url("postgres")) as conn:
        return {
            name.partition("=")[0]
            for (config,) in conn.execute("SELECT setconfig FROM pg_db_role_setting WHERE setrole <> 0")
            for name in config
        }


def test_role_settings_are_restored_only_when_the_dump_creates_the_database(pair: Import) -> None:
    """Otherwise (an import of type `microservice`, a restore into a database) the job `migrate` stores them."""
    assert settings(pair.source) == set(SESSION)
    pair.roles()
    for role, database in OWNERS.items():
        pair.dump(database)
        pair.target.tell(f"CREATE DATABASE {database} OWNER {role}")
        pair.restore(database, "-d", pair.target.server.url(database))
    assert settings(pair.target) == set()
    pair.target.make()
    assert settings(pair.target) == set(SESSION)


def test_without_its_roles_an_import_fails_instead_of_losing_grants(pair: Import) -> None:
    pair.roles()
    pair.target.tell(f"DROP ROLE {AUDITOR}")
    pair.dump("order_db")
    with pytest.raises(AssertionError, match=f'role "{AUDITOR}" does not exist'):
        pair.restore("order_db", "--create", "-d", pair.target.server.url("postgres"))
