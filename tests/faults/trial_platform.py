"""The platform of one lane: two of each service on separate databases, used by one trial after another."""

import secrets
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import msgspec
import psycopg
import redis

from services.common.postgres import migrate
from tests.conftest import PASSWORD, Databases
from tests.faults.scenarios import Process, Scenario
from tests.processes import Processes, Service, eventually, open_directory, processes
from valerix_cli.audit import Audit, Sources, audit
from valerix_cli.journal import JournalWriter
from valerix_cli.local.servers import PostgresServer, ValkeyServer, running

LEASE = 1.0  # seconds
SETTINGS = {
    "LEASE_SECONDS": str(LEASE),
    "INVENTORY_TIMEOUT_SECONDS": "0.7",  # within the lease, or a worker claims its own orders again
    "BREAKER_MINIMUM_CALLS": "1000",  # the fault, not the breaker, has to decide the result of a call
    "DATABASE_CONNECTIONS": "3",
}
READY_WITHIN = 60.0  # seconds, on a busy machine
LAST_NUMBER = 15  # the highest number of Valkey's databases
NOWHERE = "http://127.0.0.1:9"
SETTLE_LIMIT = 30.0  # seconds


class Row(msgspec.Struct, frozen=True):
    """An order as stored in its database."""

    key: str
    order_id: str
    quantity: int
    status: str
    reason: str | None
    token: int
    updated_at: datetime

    @property
    def is_final(self) -> bool:
        return self.status not in {"pending", "queued"}


class Stage:
    """Two of each service and, for queued orders, an order service that cannot reach inventory.

    The second inventory and the second worker run only as replacements of the first.
    """

    def __init__(self, services: Processes, databases: tuple[str, str], valkey: str, journal: tuple[Path, str]) -> None:
        self._sources = Sources(*databases)
        self._orders, self._stock = (psycopg.connect(url, autocommit=True) for url in databases)
        self._valkey = valkey
        self._client, self._operator = services.client, services.operator
        self._journal_path = journal[0]
        self.journal = JournalWriter(journal[0], journal[0].stem, journal[1])
        self.inventories = [services.inventory(**SETTINGS) for _ in range(2)]
        self.orders = [services.order(*self.inventories, **SETTINGS) for _ in range(2)]
        self.blind_order = services.order(NOWHERE, **SETTINGS)
        self.workers = [services.worker(*self.inventories, **SETTINGS) for _ in range(2)]

    def close(self) -> None:
        self.journal.close()
        self._orders.close()
        self._stock.close()

    def first(self, process: Process) -> Service:
        return self._both(process)[0]

    def second(self, process: Process) -> Service:
        return self._both(process)[1]

    def prepare(self, scenario: Scenario) -> Service:
        """Start all processes and stock the item. Return the process to strike, with its crash point armed."""
        struck = self.first(scenario.cell.process)
        for standing_in in (self.inventories[1], self.workers[1]):
            leave(standing_in)
        leave(struck)
        if scenario.cell.process == "worker":
            _empty(self._valkey)  # so that no wake-up of an earlier trial triggers this one's worker
        present = [self.inventories[0], *self.orders, self.workers[0]]
        present += [self.blind_order] if scenario.way == "unreachable" else []
        missing = [service for service in present if service is not struck and not service.is_alive]
        for service in missing:
            service.start()
        struck.start(CRASH_AT=scenario.cell.point, CRASH_SIGNAL=scenario.cell.strike, CRASH_SKIP=str(scenario.skip))
        for service in (*missing, struck):
            self.wait_ready(service)
        self._put_on_shelf(scenario.item_id, scenario.stock)
        return struck

    def start(self, service: Service) -> None:
        """Start a service, and return once it is ready."""
        service.start()
        self.wait_ready(service)

    def wake(self, service: Service) -> None:
        """Continue a stopped process; return once it responds again."""
        service.signal(signal.SIGCONT)
        self.wait_ready(service)

    def wait_ready(self, service: Service) -> None:
        """Wait until a service is ready.

        The service's own method would load the system's certificates for each poll.
        """

        def is_ready() -> bool:
            assert service.is_alive, f"{service.name} ended: {service.log.read_text()[-2000:]}"
            try:
                answer = self._client.get(f"{service.url}/health/live", timeout=1)
                return answer.is_success and answer.json()["pid"] == service.process.pid
            except httpx.TransportError:
                return False

        eventually(is_ready, READY_WITHIN, f"{service.name} ready")

    def now(self) -> datetime:
        """Return the time by the order database's clock."""
        found = self._orders.execute("SELECT clock_timestamp()").fetchone()
        assert found is not None
        at: datetime = found[0]
        return at

    def shops(self, scenario: Scenario) -> list[str]:
        """Return the URLs for this trial's orders, first choice first."""
        match scenario.cell.process, scenario.way:
            case "worker", "unreachable":
                return [self.blind_order.url]
            case "worker", _:
                return [self.orders[0].url]
            case _:
                return [order.url for order in self.orders]

    def lose_answers(self) -> None:
        """Lose the response to every deduction after its commit, until `calm`."""
        self._chaos("POST", {"partial_failure_rate": 1.0, "ttl_seconds": 120})

    def calm(self) -> None:
        self._chaos("DELETE", None)

    def rows(self, item_id: str) -> list[Row]:
        cursor = self._orders.execute(
            """SELECT idempotency_key, order_id::text, quantity, status, reason, lease_token, updated_at
               FROM orders WHERE item_id = %s ORDER BY id""",
            [item_id],
        )
        return [Row(*row) for row in cursor]

    def left(self, item_id: str) -> int:
        """Return the remaining stock."""
        found = self._stock.execute("SELECT quantity FROM inventory WHERE item_id = %s", [item_id]).fetchone()
        return int(found[0]) if found else 0

    def audit(self) -> Audit:
        return audit(self._sources, journal=self._journal_path, settle_limit=SETTLE_LIMIT)

    def story(self, item_id: str) -> dict[str, Any]:
        """Return everything in the databases and logs about one item's orders, as evidence."""
        events = self._orders.execute(
            """SELECT e.order_id::text, e.at, e."from", e."to", e.detail
               FROM order_events e JOIN orders USING (order_id) WHERE item_id = %s ORDER BY e.id""",
            [item_id],
        ).fetchall()
        ledger = self._stock.execute(
            """SELECT order_id::text, quantity_change, transaction_type, created_at
               FROM inventory_transactions WHERE item_id = %s ORDER BY id""",
            [item_id],
        ).fetchall()
        everyone = [*self.inventories, *self.orders, *self.workers]
        logs = {service.name: service.log.read_text()[-3000:] for service in everyone if service.log.exists()}
        return {"orders": self.rows(item_id), "events": events, "ledger": ledger, "logs": logs}

    def _chaos(self, method: str, wish: dict[str, float] | None) -> None:
        """Send a chaos request. Repeated if Redis exceeds a service's timeout, as on a busy machine."""
        url = f"{self.inventories[0].url}/api/admin/chaos"
        eventually(lambda: self._operator.request(method, url, json=wish).is_success, READY_WITHIN, "gremlins obey")

    def _both(self, process: Process) -> list[Service]:
        return {"order": self.orders, "worker": self.workers, "inventory": self.inventories}[process]

    def _put_on_shelf(self, item_id: str, quantity: int) -> None:
        with self._stock.transaction():
            self._stock.execute(
                "INSERT INTO inventory (item_id, item_name, quantity, reserved_quantity) VALUES (%s, %s, %s, 0)",
                [item_id, item_id, quantity],
            )
            if quantity:
                self._stock.execute(
                    """INSERT INTO inventory_transactions (item_id, quantity_change, transaction_type)
                       VALUES (%s, %s, 'seed')""",
                    [item_id, quantity],
                )


class Grounds:
    """One PostgreSQL and one Valkey, shared by stages."""

    def __init__(self, databases: Databases, valkey: ValkeyServer, directory: Path, journals: Path) -> None:
        self._databases, self._valkey, self._directory, self._journals = databases, valkey, directory, journals

    @contextmanager
    def stage(self, lane: int, key_prefix: str) -> Iterator[Stage]:
        """Yield a stage on new databases, and on the lane's own database number of Valkey, emptied."""
        name = f"lane-{lane}-{secrets.token_hex(4)}"
        directory = self._directory / name
        directory.mkdir()
        order_database = self._databases.make(f"{name}_orders", "order_template")
        inventory_database = self._databases.make(f"{name}_inventory", "inventory_template")
        valkey = self._valkey.url(LAST_NUMBER - lane)  # other tests use the lowest numbers
        _empty(valkey)
        with processes(directory, order_database, inventory_database, valkey) as services:
            stage = Stage(
                services, (order_database, inventory_database), valkey, (self._journals / f"{name}.jsonl", key_prefix)
            )
            try:
                yield stage
            finally:
                stage.close()


@contextmanager
def grounds(journals: Path) -> Iterator[Grounds]:
    """Yield separate servers, removed at the end; clients' journals are kept in `journals`."""
    with open_directory("faults") as directory:
        for name in ("postgres", "valkey", "lanes"):
            (directory / name).mkdir()
        with (
            running(PostgresServer.at(directory / "postgres", password=PASSWORD, fsync=False)) as postgres,
            running(ValkeyServer.at(directory / "valkey", password=PASSWORD)) as valkey,
        ):
            databases = Databases(postgres)
            for service in ("order", "inventory"):
                migrate(databases.make(f"{service}_template"), f"services.{service}")
            yield Grounds(databases, valkey, directory / "lanes", journals)


def _empty(valkey: str) -> None:
    with redis.Redis.from_url(valkey) as client:
        client.flushdb()


def leave(service: Service) -> None:
    """End a running process as a supervisor would. Fails if it does not exit cleanly."""
    if service.is_alive:
        service.signal(signal.SIGCONT)  # it may have been struck after the last poll
        code = service.stop()
        assert code == 0, f"{service.name} ended with {code}: {service.log.read_text()[-2000:]}"


def is_stopped(service: Service) -> bool:
    """Return True if the kernel has stopped it (proc_pid_stat(5): the state is the first field after the name)."""
    try:
        status = Path(f"/proc/{service.process.pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] == "T"
