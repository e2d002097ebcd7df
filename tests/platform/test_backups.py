"""The scripts of manifests/components/backup, on a real server: dumps, retention, restore and damaged files."""

import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from services.common.postgres import migrate
from tests.processes import open_directory
from valerix_cli.local.databases import OWNERS, make_databases
from valerix_cli.local.servers import PostgresServer
from valerix_cli.local.stack import Secrets

SCRIPTS = Path(__file__).parents[2] / "manifests" / "components" / "backup"
LIMIT = 60  # seconds


@pytest.fixture
def shop(postgres_server: PostgresServer) -> Iterator[dict[str, str]]:
    """Both databases as a cluster has them, with one confirmed order: each role's URL, and the passwords."""
    secrets = Secrets.generate()
    urls = make_databases(postgres_server.url("postgres"), secrets.database_passwords)
    migrate(urls["order_service"], "services.order")
    migrate(urls["inventory_service"], "services.inventory")
    with psycopg.connect(urls["inventory_service"]) as conn:
        conn.execute("INSERT INTO inventory (item_id, item_name, quantity) VALUES ('ps5', 'PS5', 9)")
        conn.execute(
            "INSERT INTO inventory_transactions (item_id, quantity_change, transaction_type) VALUES ('ps5', 10, 'seed')"
        )
        conn.execute(
            "INSERT INTO inventory_transactions (item_id, order_id, quantity_change, transaction_type)"
            " VALUES ('ps5', '00000000-0000-0000-0000-000000000001', -1, 'deduct')"
        )
    with psycopg.connect(urls["order_service"]) as conn:
        conn.execute(
            "INSERT INTO orders"
            " (order_id, item_id, quantity, status, idempotency_key, fingerprint, attempts, lease_token)"
            " VALUES ('00000000-0000-0000-0000-000000000001', 'ps5', 1, 'confirmed', 'k', '', 1, 1)"
        )
    yield urls | {"ORDER_PASSWORD": secrets.order_password, "INVENTORY_PASSWORD": secrets.inventory_password}
    with psycopg.connect(postgres_server.url("postgres"), autocommit=True) as admin:
        for database in OWNERS.values():
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(database)))
        for role in (*OWNERS, "auditor"):
            admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


class Backup:
    """Runs the scripts as the pod does: as an unprivileged user, with the manifests' environment."""

    def __init__(self, server: PostgresServer, shop: Mapping[str, str], directory: Path) -> None:
        self.dumps, self._scratch = directory / "dumps", directory / "scratch"
        for folder in (directory, self.dumps, self._scratch):
            folder.mkdir(exist_ok=True)
            if server.account:
                os.chown(folder, server.account.uid, server.account.gid)
        self._user = server.account.uid if server.account else None
        self.environ = {
            "PATH": f"{server.programs}:{os.defpath}",
            "PGHOST": "127.0.0.1",
            "PGPORT": str(server.port),
            "ORDER_PASSWORD": shop["ORDER_PASSWORD"],
            "INVENTORY_PASSWORD": shop["INVENTORY_PASSWORD"],
            "BACKUPS": str(self.dumps),
            "SCRATCH": str(self._scratch),
            "KEEP": "2",
        }

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["/bin/sh", "-c", (SCRIPTS / script).read_text()],
            cwd="/",
            env=self.environ,
            user=self._user,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )


@pytest.fixture
def backup(postgres_server: PostgresServer, shop: dict[str, str]) -> Iterator[Backup]:
    with open_directory("backup") as directory:
        yield Backup(postgres_server, shop, directory)


def test_a_dump_can_be_restored_and_passes_its_check(backup: Backup) -> None:
    dumped = backup.run("dump.sh")
    assert dumped.returncode == 0, dumped.stderr
    [moment] = backup.dumps.iterdir()
    assert {file.name for file in moment.iterdir()} == {"order_db.dump", "inventory_db.dump"}
    checked = backup.run("restore-check.sh")
    assert checked.returncode == 0, checked.stderr
    assert "1 confirmed orders, 0 without a deduction, 0 items with a wrong stock" in checked.stdout


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("DELETE FROM inventory_transactions WHERE transaction_type = 'deduct'", "1 without a deduction, 1 items"),
        ("UPDATE inventory SET quantity = 10", "0 without a deduction, 1 items"),
    ],
)
def test_an_inconsistent_dump_fails_its_check(statement: str, found: str, backup: Backup, shop: dict[str, str]) -> None:
    with psycopg.connect(shop["inventory_service"]) as conn:
        conn.execute(statement.encode())
    backup.run("dump.sh")
    checked = backup.run("restore-check.sh")
    assert checked.returncode == 1
    assert found in checked.stdout


def test_a_dump_that_cannot_be_restored_fails_its_check(backup: Backup) -> None:
    backup.run("dump.sh")
    [moment] = backup.dumps.iterdir()
    file = moment / "inventory_db.dump"
    file.write_bytes(file.read_bytes()[:2000])
    assert backup.run("restore-check.sh").returncode != 0


def test_only_the_newest_dumps_are_kept(backup: Backup) -> None:
    for moment in ("2001-01-01T03-17-00Z", "2001-01-02T03-17-00Z", "2001-01-03T03-17-00Z"):
        (backup.dumps / moment).mkdir()
    done = backup.run("dump.sh")
    assert done.returncode == 0, done.stderr
    kept, new = sorted(path.name for path in backup.dumps.iterdir())
    assert kept == "2001-01-03T03-17-00Z" < new


def test_an_unreachable_database_leaves_the_earlier_dumps(backup: Backup) -> None:
    (backup.dumps / "2001-01-01T03-17-00Z").mkdir()
    backup.environ["PGPORT"] = "1"
    assert backup.run("dump.sh").returncode != 0
    assert [path.name for path in backup.dumps.iterdir() if not path.name.startswith(".")] == ["2001-01-01T03-17-00Z"]
