"""Migrating a database to the schema that the code expects, and detecting one that is not migrated."""

import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from services.common import migrate, postgres
from services.common.connections import BlockingConnection
from services.common.postgres import LOCK
from services.common.postgres import migrate as apply
from services.inventory.migrate import seed
from services.order.migrate import work
from tests.conftest import Databases
from tests.processes import Processes, eventually, processes
from valerix_cli.audit import sources
from valerix_cli.audit.sources import Sources, take_snapshots
from valerix_cli.doctor.postgres import reading
from valerix_cli.errors import UnreachableError


def test_a_migration_without_its_variable_exits_with_2_and_names_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("VALERIX_DATABASE_URL", raising=False)
    with pytest.raises(SystemExit, match="2"):
        migrate.run(work)
    assert capsys.readouterr().err == "VALERIX_DATABASE_URL is not set\n"


def test_a_migration_without_its_database_exits_with_3(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VALERIX_DATABASE_URL", "postgresql://nobody@127.0.0.1:9/order_db")
    with pytest.raises(SystemExit, match="3"):
        migrate.run(work)
    assert "cannot be reached" in capsys.readouterr().err


@pytest.fixture
def unmigrated(databases: Databases, inventory_database: str) -> tuple[str, str]:
    return databases.make("order_unmigrated"), inventory_database


def test_a_service_is_not_ready_until_its_schema_exists(
    unmigrated: tuple[str, str], redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    order_database, inventory_database = unmigrated
    with processes(tmp_path_factory.mktemp("bare"), order_database, inventory_database, redis_url) as services:
        order = services.order("http://127.0.0.1:9")
        services.start(order)
        assert ready(services, order.url) == 503
        apply(order_database, "services.order")
        eventually(lambda: ready(services, order.url) == 200)


@pytest.mark.parametrize("kind", ["order", "worker", "inventory"])
def test_a_service_on_a_newer_schema_is_ready_and_logs_it_once(services: Processes, kind: str) -> None:
    service = services.inventory() if kind == "inventory" else getattr(services, kind)("http://127.0.0.1:9")
    with psycopg.connect(service.environ["VALERIX_DATABASE_URL"]) as conn:
        conn.execute("INSERT INTO schema_migrations (version, name) VALUES (9999, 'of a later version')")
    services.start(service)
    assert [ready(services, service.url) for _ in range(3)] == [200] * 3
    assert service.log.read_text().count("the database's schema is newer than this code") == 1


def ready(services: Processes, url: str) -> int:
    return services.client.get(f"{url}/health/ready").status_code


def locked(conn: psycopg.Connection[Any], what: str) -> None:
    """Lock what a command needs, so that it gets no response, as from a frozen server."""
    conn.execute(b"SELECT pg_advisory_lock(%d)" % LOCK if what == "turn" else b"LOCK TABLE " + what.encode())


def test_a_migration_waits_for_the_migration_lock_with_a_timeout(
    order_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "TURN_LIMIT", 0.5)
    with psycopg.connect(order_database) as other:
        locked(other, "turn")
        with pytest.raises(psycopg.OperationalError, match="another process has migrated"):
            apply(order_database, "services.order")
    assert apply(order_database, "services.order") == []


@pytest.mark.parametrize("command", ["migrate", "audit", "doctor", "seed"])
def test_every_command_times_out_on_an_unresponsive_database(
    order_database: str, inventory_database: str, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    def examine() -> None:
        with reading(order_database, 60) as conn:
            conn.execute("SELECT * FROM orders")

    def audit() -> None:
        with take_snapshots(Sources(order_database, inventory_database)) as taken:
            taken.inventory.execute("SELECT * FROM inventory_transactions")

    work: dict[str, tuple[str, str, Callable[[], Any]]] = {
        "migrate": (order_database, "schema_migrations", lambda: apply(order_database, "services.order")),
        "audit": (inventory_database, "inventory_transactions", audit),
        "doctor": (order_database, "orders", examine),
        "seed": (inventory_database, "inventory", lambda: seed(inventory_database)),
    }
    database, table, run = work[command]
    monkeypatch.setattr(BlockingConnection, "limit", 0.5)
    monkeypatch.setattr(postgres, "MIGRATION_LIMIT", 0.5)
    monkeypatch.setattr(sources, "STATEMENT_TIMEOUT", 0.5)
    monkeypatch.setattr("valerix_cli.doctor.postgres.GRACE", -59.5)
    with psycopg.connect(database) as other:
        locked(other, table)
        began = time.monotonic()
        with pytest.raises((psycopg.OperationalError, UnreachableError), match=r"no answer .*within 0\.5 s|finished"):
            run()
        assert time.monotonic() - began < 4
