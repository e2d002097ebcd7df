"""Connections that go silent while new ones work: clients get an error in time, and service resumes soon.

The kinds of silence: a proxy that drops all data on existing connections, one that drops only responses, and stopped
PostgreSQL backends whose server continues. None is repaired before the checks.
"""

import contextlib
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
import redis

from services.order.wakeups import GROUP, STREAM
from tests.conftest import Databases
from tests.e2e.proxied_shop import SETTINGS, Answer, Load, WiredShop, load
from tests.e2e.shop import Shop, new_key
from tests.integration.frontend.conftest import form_token, sign_in
from tests.machine_load import slowdown
from tests.processes import DASHBOARD_PASSWORD, Processes, eventually, processes, stopped
from valerix_cli.local.servers import ValkeyServer

pytestmark = pytest.mark.timed

TOLD_WITHIN = 3.5  # seconds until a client has a response
BACK_WITHIN = 5.0  # seconds until clients are served again
ENOUGH = 12  # consecutive good responses that show that a service has recovered

POSTGRES = ["order to postgres", "worker to postgres", "inventory to postgres"]
REDIS = ["order to redis", "worker to redis", "inventory to redis"]
DASHBOARD = ["frontend to order", "frontend to inventory"]
INVENTORY = ["order to inventory", "worker to inventory"]
SILENCES = ["swallow", "swallow-answers"]


@pytest.fixture(scope="module")
def wired(
    databases: Databases, valkey_server: ValkeyServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WiredShop]:
    urls = (
        databases.make("wired_orders", "order_template"),
        databases.make("wired_inventory", "inventory_template"),
        valkey_server.url(3),
    )
    with ExitStack() as stack:
        services = stack.enter_context(processes(tmp_path_factory.mktemp("wired"), *urls))
        shop = WiredShop(stack, services, *urls)
        shop.stock("ps5", 100_000)
        services.start(*shop.everyone, shop.frontend)
        yield shop


@pytest.fixture
def shop(wired: WiredShop) -> Iterator[WiredShop]:
    """The platform, healthy at the start and repaired at the end."""
    eventually(lambda: wired.place().status_code == 201, 15, "business as usual")
    yield wired
    wired.heal()


def last(answers: list[Answer]) -> list[Answer]:
    return sorted(answers, key=lambda answer: answer.sent + answer.seconds)[-ENOUGH:]


def back(running: Load, silent_at: float, served: set[int]) -> bool:
    """Return True if the last responses to requests sent since `silent_at` are good, and took less than a second."""
    found = last(running.since(silent_at))
    return len(found) == ENOUGH and all(answer.status in served and answer.seconds < 1 for answer in found)


def assert_back(running: Load, silent_at: float, *served: int) -> None:
    eventually(
        lambda: back(running, silent_at, set(served)),
        silent_at + BACK_WITHIN - time.monotonic(),
        f"service: {running.since(silent_at)[-30:]}",
    )


def assert_told(running: Load, *statuses: int) -> None:
    """Assert that each request had a response in time, with one of the statuses."""
    slower = slowdown()
    slow = [answer for answer in running.answers if answer.seconds > TOLD_WITHIN * slower]
    assert not slow, slow
    assert {answer.status for answer in running.answers} <= set(statuses)


@contextlib.contextmanager
def silenced(shop: WiredShop, connection: str, kind: Any) -> Iterator[None]:
    """Silence the connections of one kind during the block."""
    if kind == "stopped backends":
        with stopped(shop.backends(shop_replica(shop, connection))):
            yield
        return
    proxy = shop.proxies[connection]
    before = proxy.fired[kind]
    proxy.set(kind)
    yield
    if connection not in DASHBOARD:  # these tests open new connections, so no silent one is used
        assert proxy.fired[kind] > before, "nothing went through the dead connections"
    proxy.heal()


def shop_replica(shop: WiredShop, connection: str) -> str:
    caller = connection.partition(" ")[0]
    return {"order": shop.order, "worker": shop.worker, "inventory": shop.inventory}[caller].name


def matrix(connections: list[str], kinds: list[str], quick: str = "") -> pytest.MarkDecorator:
    """Return parameters for each connection and kind of silence; all but one are marked long."""
    return pytest.mark.parametrize(
        ("connection", "kind"),
        [
            pytest.param(
                connection,
                kind,
                marks=[] if f"{connection}, {kind}" == quick else [pytest.mark.long],
                id=f"{connection}, {kind}",
            )
            for connection in connections
            for kind in kinds
        ],
    )


@matrix(POSTGRES, [*SILENCES, "stopped backends"], "order to postgres, stopped backends")
def test_dead_connections_to_postgresql_are_replaced(shop: WiredShop, connection: str, kind: str) -> None:
    caller = connection.partition(" ")[0]
    waiting = shop_waiting(shop) if caller == "worker" else []
    with (
        load(f"{shop.order.url}/api/orders", "ps5") as orders,
        load(f"{shop.order.url}/api/orders?limit=1") as lists,
        load(f"{shop.inventory.url}/api/inventory/ps5") as items,
    ):
        eventually(lambda: back(orders, 0, {201, 202}), what="load")
        silent_at = time.monotonic()
        with silenced(shop, connection, kind):
            if caller == "worker":
                shop.calm()
            assert_back(lists, silent_at, 200)
            assert_back(items, silent_at, 200)
            assert_back(orders, silent_at, 201, 202)
            for order_id in waiting:
                eventually(lambda order_id=order_id: shop.get(order_id)["status"] == "confirmed", 8, order_id)  # type: ignore[misc]
    assert_told(orders, 201, 202, 503)
    assert_told(lists, 200, 503)
    assert_told(items, 200, 503)
    shop.wait_settled(30)
    shop.assert_exactly_one_effect()


def shop_waiting(shop: WiredShop) -> list[str]:
    """Return orders that inventory could not serve, which wait for the worker."""
    shop.chaos(crash_rate=1.0, ttl_seconds=60)
    return [shop.place().json()["order_id"] for _ in range(3)]


@matrix(REDIS, SILENCES)
def test_dead_connections_to_redis_are_replaced(shop: WiredShop, connection: str, kind: str) -> None:
    key = new_key()
    assert shop.place(key=key).status_code == 201
    with load(f"{shop.order.url}/api/orders", "ps5") as orders:
        eventually(lambda: back(orders, 0, {201}), what="load")
        silent_at = time.monotonic()
        proxy = shop.proxies[connection]
        fired = proxy.fired.total()
        with silenced(shop, connection, kind):
            eventually(lambda: proxy.fired.total() > fired)
            assert_back(orders, silent_at, 201)
            eventually(
                lambda: uses_redis(shop, connection, key), silent_at + BACK_WITHIN - time.monotonic(), connection
            )
    assert max(answer.seconds for answer in orders.answers) < 1
    assert_told(orders, 201)


def uses_redis(shop: WiredShop, connection: str, key: str) -> bool:
    """Return True if a process uses Redis successfully."""
    match connection.partition(" ")[0]:
        case "order":
            before = cache_hits(shop)
            return shop.place(key=key).status_code == 201 and cache_hits(shop) == before + 1
        case "inventory":
            answer = shop.operator.post(
                f"{shop.inventory.url}/api/admin/chaos", json={"latency_rate": 0, "ttl_seconds": 1}
            )
            return answer.status_code == 201 and "inventory-1" in answer.json()["acknowledged"]
        case _:
            return reads_wake_ups(shop)


def reads_wake_ups(shop: WiredShop) -> bool:
    """Return True if a new entry of the stream is read and acknowledged; an invalid entry is acknowledged at once."""
    with redis.Redis.from_url(shop.redis_url) as client:
        entry = client.xadd(STREAM, {"order_id": "none", "delay": 0})
        time.sleep(0.2)
        groups: Any = client.xinfo_groups(STREAM)
        read = any(group["name"] == GROUP.encode() and group["last-delivered-id"] == entry for group in groups)
        return read and not client.xpending_range(STREAM, GROUP, entry, entry, 1)


def cache_hits(shop: WiredShop) -> float:
    return shop.metric("order", "idempotency_cache_hits_total")


@matrix(INVENTORY, SILENCES)
def test_dead_connections_to_inventory_are_replaced(shop: WiredShop, connection: str, kind: str) -> None:
    waiting = shop_waiting(shop) if connection.startswith("worker") else []
    with load(f"{shop.order.url}/api/orders", "ps5") as orders:
        eventually(lambda: back(orders, 0, {201, 202}), what="load")
        silent_at = time.monotonic()
        with silenced(shop, connection, kind):
            if waiting:
                shop.calm()
            assert_back(orders, silent_at, 201, 202)
            for order_id in waiting:
                eventually(lambda order_id=order_id: shop.get(order_id)["status"] == "confirmed", 12, order_id)  # type: ignore[misc]
            eventually(lambda: back(orders, silent_at, {201}), 10, "orders that are confirmed at once")
    assert_told(orders, 201, 202)
    shop.wait_settled(30)
    shop.assert_exactly_one_effect()


@matrix(DASHBOARD, SILENCES, "frontend to order, swallow")
def test_dead_connections_of_the_dashboard_are_replaced(shop: WiredShop, connection: str, kind: str) -> None:
    """For visitors and for operators: no request waits for an abandoned connection."""
    order_id = shop.place().json()["order_id"]
    with operator(shop) as browser, load(f"{shop.frontend.url}/orders/{order_id}") as pages:
        eventually(lambda: back(pages, 0, {200}), what="load")
        silent_at = time.monotonic()
        with silenced(shop, connection, kind):
            if connection.endswith("order"):
                done = act(browser, "/orders", item_id="ps5", quantity="1")
            else:
                done = act(browser, "/restock", item_id="ps5", quantity="1")
            assert time.monotonic() - silent_at < BACK_WITHIN * slowdown()
            assert "Outcome unknown" not in done
            assert "No response" not in done
            assert_back(pages, silent_at, 200)
    assert_told(pages, 200, 503)


@contextlib.contextmanager
def operator(shop: WiredShop) -> Iterator[httpx.Client]:
    """Yield a browser that has signed in to the dashboard."""
    with httpx.Client(base_url=shop.frontend.url, headers={"Accept": "text/html"}, timeout=20) as browser:
        assert sign_in(browser, DASHBOARD_PASSWORD).status_code == 303
        yield browser


def act(browser: httpx.Client, form: str, **filled: str) -> str:
    """Submit a form of the dashboard, and return the resulting page."""
    filled["_csrf_token"] = form_token(browser.get("/").text)
    done = browser.post(form, data=filled, follow_redirects=True)
    assert done.status_code == 200, done.text
    return done.text


@pytest.mark.long
def test_a_frozen_inventory_replica_is_skipped(
    services: Processes, order_database: str, inventory_database: str
) -> None:
    shop = Shop(services, order_database, inventory_database, orders=1, **SETTINGS)
    shop.stock("ps5", 10_000)
    second = services.inventory(**SETTINGS)
    order = services.order(shop.inventory, second, **SETTINGS)
    services.start(shop.inventory, second, order)
    assert order.process.pid
    assert second.process.pid
    with load(f"{order.url}/api/orders", "ps5") as orders:
        eventually(lambda: back(orders, 0, {201}), what="load")
        silent_at = time.monotonic()
        with stopped([second.process.pid]):
            eventually(lambda: back(orders, silent_at, {201}), 8, "orders that are confirmed at once")
    assert_told(orders, 201, 202)
