"""Collects a snapshot of all services. On failure the last value is kept with its age and the error."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

import msgspec
import structlog

from services.frontend.backends import Backend, NoResponse, Refused, decode
from services.frontend.traffic import RateMeter, Scrape, Traffic, parse_scrape
from services.frontend.wire import Breaker, Chaos, Health, Item, Items, Order, OrderPage, Queue

T = TypeVar("T")
log = structlog.get_logger()

MAX_ORDERS_READ = 60
"""Newest orders per snapshot."""


class Observation(msgspec.Struct, Generic[T], frozen=True):
    """The last value of one query, and its age in seconds.

    `fault` is the reason why there is no newer value; None if there is one.
    """

    value: T | None = None
    age: float = 0.0
    fault: str | None = None


class ReplicaHealth(msgspec.Struct, frozen=True):
    """The health of one replica and its response time, or the reason (`fault`) why it is unknown."""

    service: str
    url: str
    health: Health | None
    milliseconds: float | None
    fault: str | None = None


class Snapshot(msgspec.Struct, frozen=True):
    """The state of all services `at` one time."""

    at: datetime
    replicas: Sequence[ReplicaHealth] = ()
    traffic: Observation[Traffic] = Observation()
    breaker: Observation[Breaker] = Observation()
    queue: Observation[Queue] = Observation()
    orders: Observation[list[Order]] = Observation()
    chaos: Observation[Chaos] = Observation()
    stock: Observation[list[Item]] = Observation()


class Collector:
    """Queries the services, once for all browsers."""

    def __init__(self, orders: Backend, inventory: Backend, worker: Backend) -> None:
        self._orders, self._inventory = orders, inventory
        self._services = (orders, worker, inventory)
        self._meter = RateMeter()
        self._last: dict[str, tuple[Any, float]] = {}

    async def collect(self) -> Snapshot:
        """Query everything concurrently; takes as long as the slowest response, a little over two seconds at most."""
        orders, inventory = self._orders, self._inventory
        await asyncio.gather(*(service.find_replicas() for service in self._services))
        queries: dict[str, Callable[[], Awaitable[Any]]] = {
            "traffic": self._traffic,
            "breaker": lambda: orders.get("/api/admin/breaker", Breaker),
            "queue": lambda: orders.get("/api/admin/queue", Queue),
            "orders": self._newest,
            "chaos": lambda: inventory.get("/api/admin/chaos", Chaos),
            "stock": self._stock,
        }
        replicas, *observations = await asyncio.gather(
            self._replica_health(), *(self._observe(name, query) for name, query in queries.items())
        )
        return Snapshot(datetime.now(UTC), replicas, **dict(zip(queries, observations, strict=True)))

    async def _observe(self, name: str, query: Callable[[], Awaitable[Any]]) -> Observation[Any]:
        now = time.monotonic()
        fault = None
        try:
            value = await query()
        except (NoResponse, Refused) as error:
            fault = str(error)
        except Exception as error:
            log.exception("query failed", what=name)
            fault = f"{type(error).__name__}: internal error of the dashboard"
        else:
            if value is not None:
                self._last[name] = (value, now)
        value, at = self._last.get(name, (None, now))
        return Observation(value, max(0.0, now - at), fault)

    async def _replica_health(self) -> list[ReplicaHealth]:
        replicas = [(service, url) for service in self._services for url in service.urls]
        return list(await asyncio.gather(*(_health_of(service, url) for service, url in replicas)))

    async def _traffic(self) -> Traffic | None:
        pages = await asyncio.gather(*(self._scrape(url) for url in self._orders.urls))
        found: Mapping[str, Scrape] = {url: page for url, page in pages if isinstance(page, Scrape)}
        faults = [page for _, page in pages if isinstance(page, NoResponse)]
        if not found and faults:
            raise faults[0]
        return self._meter.read(found)

    async def _scrape(self, url: str) -> tuple[str, Scrape | NoResponse]:
        try:
            answer = await self._orders.request_replica(url, "GET", "/metrics")
            return url, parse_scrape(answer.content.decode(), time.monotonic())
        except NoResponse as error:
            return url, error
        except (ValueError, LookupError):
            return url, NoResponse(f"{self._orders.name}: metrics could not be parsed")

    async def _newest(self) -> list[Order]:
        return (await self._orders.get(f"/api/orders?limit={MAX_ORDERS_READ}", OrderPage)).orders

    async def _stock(self) -> list[Item]:
        return (await self._inventory.get("/api/inventory", Items)).items


async def _health_of(service: Backend, url: str) -> ReplicaHealth:
    try:
        answer = await service.request_replica(url, "GET", "/health")
        health = decode(msgspec.structs.replace(answer, status=200), Health)  # a 503 has the same body
    except NoResponse as error:
        return ReplicaHealth(service.name, url, None, None, str(error))
    return ReplicaHealth(service.name, url, health, answer.milliseconds)
