"""Looks at everything at once, again and again. What cannot be had is said, and what was seen last is kept."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

import msgspec
import structlog

from services.frontend.backends import Backend, Refused, Unanswered, decode
from services.frontend.metering import Meter, Scrape, Traffic, scrape
from services.frontend.wire import Breaker, Chaos, Health, Item, Items, Order, OrderPage, Queue

T = TypeVar("T")
log = structlog.get_logger()

ORDERS = 60
"""Newest orders that one look reads."""


class Seen(msgspec.Struct, Generic[T], frozen=True):
    """The last answer to one question, and how many seconds ago it came.

    `fault` says why there is no newer one; None while there is nothing to complain of.
    """

    value: T | None = None
    age: float = 0.0
    fault: str | None = None


class Tile(msgspec.Struct, frozen=True):
    """One replica: what it says of its health, and how long it took to say so; or why it says nothing."""

    service: str
    url: str
    health: Health | None
    milliseconds: float | None
    fault: str | None = None


class Sights(msgspec.Struct, frozen=True):
    """Everything as seen `at` one moment."""

    at: datetime
    tiles: Sequence[Tile] = ()
    traffic: Seen[Traffic] = Seen()
    breaker: Seen[Breaker] = Seen()
    queue: Seen[Queue] = Seen()
    orders: Seen[list[Order]] = Seen()
    chaos: Seen[Chaos] = Seen()
    stock: Seen[list[Item]] = Seen()


class Watcher:
    """Asks the services, each question once for everybody who watches."""

    def __init__(self, orders: Backend, inventory: Backend, worker: Backend) -> None:
        self._orders, self._inventory = orders, inventory
        self._services = (orders, worker, inventory)
        self._meter = Meter()
        self._kept: dict[str, tuple[Any, float]] = {}

    async def look(self) -> Sights:
        """Takes as long as the slowest answer, a little over two seconds at most."""
        orders, inventory = self._orders, self._inventory
        await asyncio.gather(*(service.find_replicas() for service in self._services))
        questions: dict[str, Callable[[], Awaitable[Any]]] = {
            "traffic": self._traffic,
            "breaker": lambda: orders.get("/api/admin/breaker", Breaker),
            "queue": lambda: orders.get("/api/admin/queue", Queue),
            "orders": self._newest,
            "chaos": lambda: inventory.get("/api/admin/chaos", Chaos),
            "stock": self._stock,
        }
        tiles, *seen = await asyncio.gather(self._tiles(), *(self._seen(name, ask) for name, ask in questions.items()))
        return Sights(datetime.now(UTC), tiles, **dict(zip(questions, seen, strict=True)))

    async def _seen(self, name: str, ask: Callable[[], Awaitable[Any]]) -> Seen[Any]:
        now = time.monotonic()
        fault = None
        try:
            value = await ask()
        except (Unanswered, Refused) as error:
            fault = str(error)
        except Exception as error:
            log.exception("a look failed", what=name)
            fault = f"{type(error).__name__}: a bug on our side"
        else:
            if value is not None:
                self._kept[name] = (value, now)
        value, at = self._kept.get(name, (None, now))
        return Seen(value, max(0.0, now - at), fault)

    async def _tiles(self) -> list[Tile]:
        replicas = [(service, url) for service in self._services for url in service.urls]
        return list(await asyncio.gather(*(_tile(service, url) for service, url in replicas)))

    async def _traffic(self) -> Traffic | None:
        pages = await asyncio.gather(*(self._scrape(url) for url in self._orders.urls))
        found: Mapping[str, Scrape] = {url: page for url, page in pages if isinstance(page, Scrape)}
        faults = [page for _, page in pages if isinstance(page, Unanswered)]
        if not found and faults:
            raise faults[0]
        return self._meter.read(found)

    async def _scrape(self, url: str) -> tuple[str, Scrape | Unanswered]:
        try:
            answer = await self._orders.ask_one(url, "GET", "/metrics")
            return url, scrape(answer.content.decode(), time.monotonic())
        except Unanswered as error:
            return url, error
        except (ValueError, LookupError):
            return url, Unanswered(f"{self._orders.name}: metrics that were not understood")

    async def _newest(self) -> list[Order]:
        return (await self._orders.get(f"/api/orders?limit={ORDERS}", OrderPage)).orders

    async def _stock(self) -> list[Item]:
        return (await self._inventory.get("/api/inventory", Items)).items


async def _tile(service: Backend, url: str) -> Tile:
    try:
        answer = await service.ask_one(url, "GET", "/health")
        health = decode(msgspec.structs.replace(answer, status=200), Health)  # 503 comes with the same body
    except Unanswered as error:
        return Tile(service.name, url, None, None, str(error))
    return Tile(service.name, url, health, answer.milliseconds)
