"""A platform with a proxy on each connection between its processes, and a load that records responses."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import NamedTuple

import httpx
import psycopg

from tests.e2e.shop import Shop, new_key
from tests.faults.proxy import Proxy
from tests.processes import Processes, Service

SETTINGS = {"LEASE_SECONDS": "2", "BREAKER_OPEN_SECONDS": "1"}
CLIENTS = 4
PAUSE = 0.05  # seconds between the requests of one client


class Answer(NamedTuple):
    """The result of one request: time of sending (by the monotonic clock), duration, and status (0: no response)."""

    sent: float
    seconds: float
    status: int


class Load:
    """A few clients that send one request after the other, each in a separate thread."""

    def __init__(self, url: str, item_id: str | None) -> None:
        """Place orders for `item_id` at `url`; with None, send GET requests."""
        self.answers: list[Answer] = []
        self._url, self._item_id = url, item_id
        self._enough = threading.Event()
        self._threads = [threading.Thread(target=self._send, daemon=True) for _ in range(CLIENTS)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._enough.set()
        for thread in self._threads:
            thread.join()

    def since(self, moment: float) -> list[Answer]:
        return [answer for answer in list(self.answers) if answer.sent >= moment]

    def _send(self) -> None:
        with httpx.Client(timeout=30) as client:
            while not self._enough.wait(PAUSE):
                began, status = time.monotonic(), 0
                with suppress(httpx.TransportError):
                    status = self._ask(client).status_code
                self.answers.append(Answer(began, time.monotonic() - began, status))

    def _ask(self, client: httpx.Client) -> httpx.Response:
        if self._item_id is None:
            return client.get(self._url)
        body = {"item_id": self._item_id, "quantity": 1}
        return client.post(self._url, json=body, headers={"Idempotency-Key": new_key()})


@contextmanager
def load(url: str, item_id: str | None = None) -> Iterator[Load]:
    """Send requests during the block."""
    running = Load(url, item_id)
    running.start()
    try:
        yield running
    finally:
        running.stop()


class WiredShop(Shop):
    """One inventory, one worker, several order replicas.

    `proxies` have names such as "order to redis", "order-2 to redis".
    """

    def __init__(
        self,
        stack: ExitStack,
        services: Processes,
        order_database: str,
        inventory_database: str,
        redis_url: str,
        *,
        orders: int = 1,
    ) -> None:
        self.order_database, self.inventory_database, self.redis_url = order_database, inventory_database, redis_url
        self.services = services
        self.client, self.operator = services.client, services.operator
        self.proxies: dict[str, Proxy] = {}
        self._stack = stack
        self.inventory = services.inventory(**SETTINGS, **self._databases("inventory", inventory_database))
        names = ["order", *(f"order-{number}" for number in range(2, orders + 1))]
        self.orders = [self._caller(services.order, name) for name in names]
        self.worker = self._caller(services.worker, "worker")
        self.frontend = services.frontend(
            self.order,
            self.inventory,
            ORDER_URL=self._proxied("frontend to order", self.order.url),
            INVENTORY_URL=self._proxied("frontend to inventory", self.inventory.url),
        )

    def heal(self) -> None:
        for proxy in self.proxies.values():
            proxy.heal()

    def backends(self, replica: str) -> list[int]:
        """Return the process ids of the PostgreSQL backends that serve a replica."""
        with psycopg.connect(self.order_database) as conn:
            rows = conn.execute(
                "SELECT pid FROM pg_stat_activity WHERE application_name = %s", [f"valerix-{replica}"]
            ).fetchall()
        return [pid for (pid,) in rows]

    def metric(self, service: str, name: str) -> float:
        """Return one sample of a service's metrics page, by its name with labels; 0 if it is missing."""
        url = {"order": self.order, "worker": self.worker, "inventory": self.inventory}[service].url
        lines = self.client.get(f"{url}/metrics").text.splitlines()
        return next((float(line.split()[-1]) for line in lines if line.startswith(f"{name} ")), 0.0)

    def _caller(self, make: Callable[..., Service], name: str) -> Service:
        inventory = self._proxied(f"{name} to inventory", self.inventory.url)
        return make(inventory, **SETTINGS, **self._databases(name, self.order_database))

    def _databases(self, name: str, database: str) -> dict[str, str]:
        return {
            "DATABASE_URL": self._proxied(f"{name} to postgres", database),
            "REDIS_URL": self._proxied(f"{name} to redis", self.redis_url),
        }

    def _proxied(self, name: str, url: str) -> str:
        port = httpx.URL(url).port
        assert port is not None
        proxy = self.proxies[name] = self._stack.enter_context(Proxy(port, name=name))
        return url.replace(f":{port}", f":{proxy.port}")
