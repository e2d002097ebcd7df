"""A platform of real processes that can be killed, with proxies on the connections between them."""

import signal
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import httpx
import psycopg
import redis

from services.common.postgres import migrate
from tests.e2e.shop import Shop
from tests.faults.open_load import STOCK
from tests.faults.proxy import Proxy
from tests.processes import OPERATOR, Processes, Service, eventually, processes
from valerix_cli.local.servers import PostgresServer, Server, ValkeyServer

PASSWORD = "only-for-this-run"
SETTINGS = {"LEASE_SECONDS": "2", "BREAKER_OPEN_SECONDS": "2", "INVENTORY_TIMEOUT_SECONDS": "1"}
SERVER_WITHIN = 30.0  # seconds for a database to be back, on its port and with its data


class Mortal:
    """A database server that can be killed and restarted on the same port with the same data."""

    def __init__(self, server: Server, log: Path) -> None:
        self.server = server
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        if making := self.server.making():
            with self._log.open("ab") as output:
                process = making.start(output)
            assert process.wait(SERVER_WITHIN) == 0, self._log.read_text()[-2000:]
            self.server.made()
        try:
            self.start()
        except BaseException:
            self.kill(signal.SIGKILL)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill(self.server.stop_signal)

    def start(self) -> None:
        """Start the server; return once it responds. Retries, since processes of its predecessor may still be exiting.

        Call it from the main thread: the server dies with the thread that started it.
        """
        eventually(self._is_up, SERVER_WITHIN, f"{self.server.name} up; its log: {self._log}")

    def kill(self, number: signal.Signals) -> bool:
        """End the server with a signal and wait for it. Return whether it was alive."""
        if self._process is None or self._process.poll() is not None:
            return False
        self._process.send_signal(number)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        return True

    def _is_up(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            with self._log.open("ab") as output:
                self._process = self.server.running().start(output)
        return self.server.answers()


class Platform:
    """One inventory, two order replicas, two workers, with a proxy on each connection between processes."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        for name in ("postgres", "valkey", "logs"):
            (directory / name).mkdir()
        logs = directory / "logs"
        database = PostgresServer.at(directory / "postgres", password=PASSWORD)
        self.postgres = stack.enter_context(Mortal(database, logs / "postgres.log"))
        cache = ValkeyServer.at(directory / "valkey", password=PASSWORD)
        self.valkey = stack.enter_context(Mortal(cache, logs / "valkey.log"))
        self.redis = stack.enter_context(redis.Redis.from_url(cache.url(), socket_timeout=2))
        self.orders_url, self.inventory_url = _migrated(database, "order"), _migrated(database, "inventory")
        self._processes = stack.enter_context(processes(logs, self.orders_url, self.inventory_url, cache.url()))
        self._stack = stack
        self.proxies: list[Proxy] = []
        self.shop = Wired(self._processes, self.orders_url, self.inventory_url, self._proxied)
        for item_id, quantity in STOCK.items():
            self.shop.stock(item_id, quantity)
        self._processes.start(*self.services)

    @property
    def services(self) -> list[Service]:
        return self.shop.everyone

    def chaos(self, method: str, **wish: Any) -> dict[str, Any]:
        """Send a chaos request to inventory. Return the response, or an empty dict if inventory is unavailable."""
        url = f"{self.shop.inventory.url}/api/admin/chaos"
        try:
            answer = httpx.request(method, url, json=wish or None, headers=OPERATOR, timeout=3)
            answer.raise_for_status()
        except httpx.HTTPError:
            return {}
        body: dict[str, Any] = answer.json()
        return body

    def _proxied(self, name: str, port: int) -> int:
        proxy = self._stack.enter_context(Proxy(port, name=name))
        self.proxies.append(proxy)
        return proxy.port


class Wired(Shop):
    """A platform whose processes reach each other and their databases through proxies."""

    def __init__(
        self, services: Processes, order_database: str, inventory_database: str, proxied: Callable[[str, int], int]
    ) -> None:
        self.order_database, self.inventory_database = order_database, inventory_database
        self.services = services
        self.client, self.operator = services.client, services.operator

        def database(url: str, name: str) -> str:
            port = httpx.URL(url).port
            assert port is not None
            return url.replace(f":{port}/", f":{proxied(f'{name} to postgres', port)}/")

        def caller(make: Callable[..., Service], name: str) -> Service:
            inventory = f"http://127.0.0.1:{proxied(f'{name} to inventory', self.inventory.port)}"
            return make(inventory, **SETTINGS, DATABASE_URL=database(order_database, name))

        self.inventory = services.inventory(**SETTINGS, DATABASE_URL=database(inventory_database, "inventory-1"))
        self.orders = [caller(services.order, name) for name in ("order-1", "order-2")]
        self.workers = [caller(services.worker, name) for name in ("worker-1", "worker-2")]
        self.worker = self.workers[0]

    @property
    def everyone(self) -> list[Service]:
        return [self.inventory, *self.orders, *self.workers]


def _migrated(server: PostgresServer, service: str) -> str:
    """Return the URL of a new database with the tables of that service."""
    name = f"{service}_db"
    with psycopg.connect(server.url("postgres"), autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {name}".encode())
    migrate(server.url(name), f"services.{service}")
    return server.url(name)
