"""No response contains an order that is not stored: neither after a restore with an old Redis nor by forged entries."""

import shutil
import signal
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
import redis

from services.common.postgres import migrate
from tests.conftest import PASSWORD, Databases
from tests.e2e.shop import Shop
from tests.faults.platform import Mortal
from tests.processes import eventually, open_directory, processes
from valerix_cli.audit import Sources, audit
from valerix_cli.audit.model import Audit
from valerix_cli.local.servers import PostgresServer

NAMES = ("order_db", "inventory_db")
KEYS = [f"restored-{number}" for number in range(20)]


class Site:
    """A PostgreSQL with both databases, which can be backed up and restored, and a platform on it."""

    def __init__(self, postgres: Mortal, directory: Path, redis_url: str) -> None:
        assert isinstance(postgres.server, PostgresServer)
        self.postgres, self.server, self.directory, self.redis_url = postgres, postgres.server, directory, redis_url
        self.shop: Shop

    def program(self, name: str, *arguments: str) -> None:
        command = [str(self.server.programs / name), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def dump(self) -> None:
        for name in NAMES:
            self.program("pg_dump", "-Fc", "-f", str(self.directory / name), self.server.url(name))

    def restore_in_place(self) -> None:
        for name in NAMES:
            self.program("pg_restore", "--clean", "-d", self.server.url(name), str(self.directory / name))

    def restore_rows(self) -> None:
        """Restore only the rows of the orders: the tables are emptied and filled from the dump."""
        name = NAMES[0]
        with psycopg.connect(self.server.url(name)) as conn:
            conn.execute("TRUNCATE orders, order_events")
        tables = ("-t", "orders", "-t", "order_events")
        self.program("pg_restore", "--data-only", *tables, "-d", self.server.url(name), str(self.directory / name))

    def restore_into_new_databases(self) -> None:
        databases = Databases(self.server)
        for name in NAMES:
            databases.drop(name)
            databases.make(name)
            self.program("pg_restore", "-d", self.server.url(name), str(self.directory / name))

    def copy_files(self) -> None:
        self.postgres.kill(signal.SIGINT)
        shutil.copytree(self.server.data, self.directory / "copy", copy_function=shutil.copy2)
        self.postgres.start()

    def put_files_back(self) -> None:
        self.postgres.kill(signal.SIGINT)
        owner = self.server.data.stat()
        shutil.rmtree(self.server.data)
        shutil.copytree(self.directory / "copy", self.server.data)
        for path in (self.server.data, *self.server.data.rglob("*")):
            shutil.chown(path, owner.st_uid, owner.st_gid)
        self.postgres.start()

    def audit(self) -> Audit:
        return audit(Sources(self.shop.order_database, self.shop.inventory_database, self.redis_url))

    def broken(self) -> set[str]:
        return {rule.name for rule in self.audit().invariants if rule.broken}


@pytest.fixture
def site(tmp_path: Path, redis_url: str) -> Iterator[Site]:
    with open_directory("restore") as place:
        (place / "postgres").mkdir()
        server = PostgresServer.at(place / "postgres", password=PASSWORD, fsync=False)
        with Mortal(server, place / "log") as postgres:
            databases = Databases(server)
            for name, service in zip(NAMES, ("order", "inventory"), strict=True):
                migrate(databases.make(name), f"services.{service}")
            site = Site(postgres, place, redis_url)
            with processes(tmp_path, server.url(NAMES[0]), server.url(NAMES[1]), redis_url) as services:
                site.shop = Shop(services, server.url(NAMES[0]), server.url(NAMES[1]))
                site.shop.stock("ps5", 1000)
                yield site


WAYS: dict[str, tuple[Callable[[Site], None], Callable[[Site], None]]] = {
    "pg_restore --clean": (Site.dump, Site.restore_in_place),
    "new databases": (Site.dump, Site.restore_into_new_databases),
    "rows alone": (Site.dump, Site.restore_rows),
    "files": (Site.copy_files, Site.put_files_back),
}


@pytest.mark.long
@pytest.mark.parametrize("way", WAYS)
def test_a_repeat_is_never_answered_with_an_order_lost_in_a_restore(site: Site, way: str) -> None:
    back_up, restore = WAYS[way]
    shop = site.shop
    back_up(site)
    shop.services.start(*shop.everyone)
    for key in KEYS:
        assert eventually(lambda key=key: shop.place(key=key), 10).status_code == 201  # type: ignore[misc]  # a default binds it
    with redis.Redis.from_url(site.redis_url) as client:
        eventually(lambda: client.exists(*(f"idempotency:{key}" for key in KEYS)) == len(KEYS), 5)
    assert shop.place(key=KEYS[0]).headers["Idempotent-Replayed"] == "true"
    assert site.broken() == set()
    restore(site)
    eventually(lambda: shop.operator.get(f"{shop.order.url}/api/admin/queue").is_success, 20)  # it has polled since
    answers = [shop.place(key=key) for key in KEYS]
    results = {answer.json()["order_id"] for answer in answers if answer.is_success}
    assert [answer.headers.get("Idempotent-Replayed") for answer in answers] == [None] * len(KEYS)
    assert results <= {str(order_id) for order_id in shop.statuses()}
    assert "cache-agrees" not in site.broken()


def test_the_audit_reports_a_cached_answer_without_a_database_row(site: Site) -> None:
    shop = site.shop
    shop.services.start(*shop.everyone)
    kept, dropped, changed = (shop.place(key=key).json()["order_id"] for key in ("kept", "dropped", "changed"))
    with redis.Redis.from_url(site.redis_url) as client:
        eventually(lambda: client.exists("idempotency:kept", "idempotency:dropped", "idempotency:changed") == 3, 5)
    assert kept != dropped != changed
    with psycopg.connect(shop.order_database) as conn:
        conn.execute("DELETE FROM orders WHERE idempotency_key = 'dropped'")
        conn.execute("UPDATE orders SET quantity = 2 WHERE idempotency_key = 'changed'")
    (rule,) = (rule for rule in site.audit().invariants if rule.name == "cache-agrees")
    assert (rule.verdict, rule.checked) == ("violated", 3)
    assert {example.subject for example in rule.examples} == {"dropped", "changed"}


def forgery(genuine: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return a response under the key `forged`."""
    order = {**genuine["order"], "order_id": str(uuid.uuid4()), "idempotency_key": "forged"}
    return {**genuine, "order": order, **changes}


FORGERIES: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "unsigned": lambda genuine: {name: forgery(genuine)[name] for name in ("fingerprint", "order")},
    "signature of another": forgery,
    "signature made up": lambda genuine: forgery(genuine, signature="0" * 32),
    "signature empty": lambda genuine: forgery(genuine, signature=""),
    "signature not ASCII": lambda genuine: forgery(genuine, signature="\u2014" * 32),
    "another database": lambda genuine: forgery(genuine, origin="0" * 32),
    "whole answer of another": lambda genuine: genuine,
}


def test_a_forged_answer_is_not_believed(shop: Shop, redis_url: str) -> None:
    """Each kind of forgery in turn, under separate keys."""
    with redis.Redis.from_url(redis_url) as client:
        shop.place(key="genuine")
        raw = eventually(lambda: client.get("idempotency:genuine"), 5)
        for kind, forge in FORGERIES.items():
            forged = forge(msgspec.json.decode(raw))
            if forged["order"]["idempotency_key"] == "forged":
                forged["order"]["idempotency_key"] = kind.replace(" ", "-")
            client.set(f"idempotency:{kind.replace(' ', '-')}", msgspec.json.encode(forged))
    answers = {kind: shop.place(key=kind.replace(" ", "-")) for kind in FORGERIES}
    results = {
        kind: (answer.status_code, answer.headers.get("Idempotent-Replayed")) for kind, answer in answers.items()
    }
    assert results == dict.fromkeys(FORGERIES, (201, None))
    assert {answer.json()["order_id"] for answer in answers.values()} <= {str(each) for each in shop.statuses()}
    rejected = f"idempotency_cache_rejected_total {len(FORGERIES)}.0"
    assert rejected in shop.client.get(f"{shop.order.url}/metrics").text
