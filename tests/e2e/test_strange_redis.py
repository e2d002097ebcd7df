"""Any reply of Redis or error of its client is handled as a failure of Redis: orders continue, failures are logged."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
import redis
import uvloop

from services.common.redis import BestEffort, Redis, closing, open_redis
from tests.conftest import Databases
from tests.e2e.shop import Shop, new_key
from tests.e2e.strange_redis import ANSWERS, StrangeRedis
from tests.faults.proxy import Proxy
from tests.processes import Service, eventually, processes
from valerix_cli.local.servers import ValkeyServer

LIMIT = {"RATE_LIMIT_PER_MINUTE": "100000", "BREAKER_OPEN_SECONDS": "1", "LEASE_SECONDS": "2"}


class StrangeShop(Shop):
    """A platform whose processes all use Redis through a proxy with strange replies."""

    strange: StrangeRedis
    redis: redis.Redis


@pytest.fixture(scope="module")
def strange_shop(
    databases: Databases, valkey_server: ValkeyServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StrangeShop]:
    order, inventory = databases.make("strange_o", "order_template"), databases.make("strange_i", "inventory_template")
    real = valkey_server.url(4)
    with ExitStack() as stack:
        strange = stack.enter_context(StrangeRedis(valkey_server.port))
        url = real.replace(f":{valkey_server.port}", f":{strange.port}")
        services = stack.enter_context(processes(tmp_path_factory.mktemp("strange"), order, inventory, url))
        shop = StrangeShop(services, order, inventory, orders=1, **LIMIT)
        shop.strange, shop.redis = strange, stack.enter_context(redis.Redis.from_url(real))
        shop.redis.flushdb()
        shop.stock("ps5", 100_000)
        services.start(*shop.everyone)
        yield shop


def metric(service: Service, name: str) -> float:
    lines = httpx.get(f"{service.url}/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))


def sane(shop: StrangeShop) -> None:
    """Assert that orders are placed and repeated, reads succeed, and chaos requests succeed or report an outage."""
    key = new_key()
    for answer in (shop.place(key=key), shop.place(key=key)):
        assert answer.status_code == 201, answer.text
    order_id = answer.json()["order_id"]
    for url in (f"{shop.order.url}/api/orders/{order_id}", f"{shop.inventory.url}/api/inventory/ps5"):
        assert shop.client.get(url).status_code == 200
    breaker = shop.operator.get(f"{shop.order.url}/api/admin/breaker")
    assert breaker.status_code == 200, breaker.text
    assert shop.operator.post(f"{shop.order.url}/api/admin/breaker", json={"state": "auto"}).status_code == 200
    for method, path, body in (
        ("GET", "", None),
        ("GET", "/nobody/hits", None),
        ("POST", "", {"latency_rate": 0, "ttl_seconds": 1}),
        ("DELETE", "", None),
        ("POST", "/halt", {"halted": False}),
    ):
        url = f"{shop.inventory.url}/api/admin/chaos{path}"
        ruled = shop.operator.request(method, url, json=body)
        assert ruled.status_code in {200, 201, 404, 409, 503}, f"{method} {path}: {ruled.text}"
    for service in shop.everyone:
        assert httpx.get(f"{service.url}/health").status_code == 200


QUICK = {"a list of many"}


@pytest.mark.parametrize(
    "what", [pytest.param(each, marks=[] if each in QUICK else pytest.mark.long) for each in ANSWERS]
)
def test_orders_succeed_and_failures_are_counted_whatever_redis_answers(strange_shop: StrangeShop, what: str) -> None:
    shop = strange_shop
    eventually(lambda: uses_cache(shop), 10, "a cache")
    failures = {service.name: metric(service, "dependency_failures_total") for service in shop.everyone}
    shop.strange.answer = ANSWERS[what]
    before = shop.strange.answered
    try:
        for _ in range(3):
            sane(shop)
        assert shop.strange.answered > before
    finally:
        shop.strange.answer = None
    eventually(lambda: uses_cache(shop), 5, "the cache again")
    eventually(lambda: shop.operator.get(f"{shop.inventory.url}/api/admin/chaos").status_code == 200, 5, "gremlins")
    for service in shop.everyone:
        assert not metric(service, "unhandled_errors_total"), service.log.read_text()[-3000:]
    assert any(metric(service, "dependency_failures_total") > failures[service.name] for service in shop.everyone)


def uses_cache(shop: Shop) -> bool:
    key = new_key()
    shop.place(key=key)
    before = metric(shop.order, "idempotency_cache_hits_total")
    time.sleep(0.02)
    return shop.place(key=key).status_code == 201 and metric(shop.order, "idempotency_cache_hits_total") > before


def exercise(shop: StrangeShop, memory: dict[str, str]) -> dict[str, bool]:
    """Use every key of Redis. Return, by purpose of the key, whether it works."""
    chaos = f"{shop.inventory.url}/api/admin/chaos"
    wish = {"crash_rate": 1, "ttl_seconds": 60, "script": []}
    live = shop.operator.post(chaos, json=wish)
    if "order_id" not in memory:  # an order that a gremlin hits, for a script, a hit and a wake-up
        memory["order_id"] = shop.place(key=memory["key"]).json()["order_id"]
        hit = {"gremlin": "crash", "order_id": memory["order_id"], "attempt": 1}
        live = shop.operator.post(chaos, json={"crash_rate": 1, "ttl_seconds": 60})
        shop.place(key=new_key())
        live = shop.operator.post(chaos, json=wish | {"script": [hit]})
        memory["live"] = live.json()["id"]
    seen = shop.operator.get(chaos)
    ids = {
        key.decode().rpartition(":")[2]
        for kind in ("counts", "hits")
        for key in shop.redis.scan_iter(f"chaos:{kind}:*")
    }
    hits = {shop.operator.get(f"{chaos}/{activation}/hits").status_code for activation in ids}
    calm = shop.operator.delete(chaos)
    again = shop.place(key=memory["key"])
    breakers = shop.operator.get(f"{shop.order.url}/api/admin/breaker").json()
    shop.operator.post(f"{shop.order.url}/api/admin/breaker", json={"state": "open"})
    forced = shop.operator.post(f"{shop.order.url}/api/admin/breaker", json={"state": "auto"})
    return {
        "gremlins": (live.status_code, seen.status_code, calm.status_code) == (201, 200, 200),
        "hits": hits <= {200, 404},  # 404 once the counts of an old activation are lost
        "orders": again.status_code == 201,
        "breakers": {breaker["replica"] for breaker in breakers["replicas"]} == {"order-1", "worker-1"},
        "forcing": forced.status_code == 200,
        "cache": uses_cache(shop),
    }


def is_mended(shop: StrangeShop, key: bytes, wrong: str) -> bool:
    is_over = key.startswith(b"rate:") and not key.endswith(f":{int(time.time()) // 60}".encode())
    return is_over or shop.redis.type(key) != wrong.encode()


def assert_mended(shop: StrangeShop, memory: dict[str, str], key: bytes, wrong: str) -> None:
    deadline = time.monotonic() + 8
    while not all((works := exercise(shop, memory)).values()) or not is_mended(shop, key, wrong):
        assert time.monotonic() < deadline, f"{key!r}: {works}, mended: {is_mended(shop, key, wrong)}"


@pytest.mark.long
def test_every_redis_key_of_a_wrong_type_is_replaced(strange_shop: StrangeShop) -> None:
    """Each key that the services have created is replaced by one of another type, in turn, without expiry."""
    shop, memory = strange_shop, {"key": new_key()}
    eventually(lambda: all(exercise(shop, memory).values()), 10, "everything")
    found = sorted({bytes(key) for key in shop.redis.scan_iter("*")})
    for name in (b"breaker:replicas", b"breaker:history", b"orders:wakeups", b"chaos:recent", b"chaos:replicas"):
        assert name in found
    tried: set[bytes] = set()
    for key in [*found, b"breaker:forced", b"chaos:live", b"chaos:halted"]:
        family = b":".join(key.split(b":")[:2]) if not key.startswith((b"idempotency", b"rate")) else key.split(b":")[0]
        if family in tried or b"script" in key:
            continue
        tried.add(family)
        if family == b"idempotency":
            key = f"idempotency:{memory['key']}".encode()  # noqa: PLW2901 - the only key that is requested again
        if family == b"rate":
            key = f"rate:127.0.0.1:{int(time.time()) // 60}".encode()  # noqa: PLW2901 - the previous minute's key has expired
        was = shop.redis.type(key)
        wrong = "list" if was in {b"string", b"none"} else "string"
        shop.redis.delete(key)
        shop.redis.lpush(key, "wrong") if wrong == "list" else shop.redis.set(key, "wrong")
        if key == b"chaos:halted":
            shop.operator.post(f"{shop.inventory.url}/api/admin/chaos/halt", json={"halted": False})
        assert_mended(shop, memory, key, wrong)
    assert len(tried) >= 10, tried
    for service in shop.everyone:
        assert not metric(service, "unhandled_errors_total"), service.log.read_text()[-3000:]


async def test_an_error_reply_to_one_redis_command_starts_no_cooldown(redis_url: str) -> None:
    client = open_redis(redis_url, name="test")
    async with closing(client):
        best_effort = BestEffort(client)
        await client.lpush("list", "one")

        async def read(redis: Redis) -> Any:
            return await redis.get("list")

        async def write(redis: Redis) -> Any:
            return await redis.set("text", "two")

        assert await best_effort(read, "fallback") == "fallback"
        assert await best_effort(write, "fallback") != "fallback"
        assert await best_effort(read, "fallback") is None  # the invalid entry was deleted


@pytest.mark.long
async def test_a_late_redis_reply_is_not_matched_to_another_command(
    valkey_server: ValkeyServer, redis_url: str
) -> None:
    with Proxy(valkey_server.port) as proxy:
        client = open_redis(redis_url.replace(f":{valkey_server.port}", f":{proxy.port}"), name="test")
        async with closing(client):
            best_effort = BestEffort(client)

            async def get(number: int) -> Any:
                async def read(redis: Redis) -> Any:
                    async with redis.pipeline(transaction=number % 3 == 0) as pipe:
                        pipe.set(f"key-{number}", number)
                        pipe.get(f"key-{number}")
                        return (await pipe.execute())[1]

                async def short(redis: Redis) -> Any:
                    await redis.set(f"key-{number}", number)
                    return await redis.get(f"key-{number}")

                return await best_effort(short if number % 2 else read, None)

            answered = 0
            for number in range(120):
                best_effort._cooldown_until = 0.0  # noqa: SLF001 - as if a second had passed
                if number % 10 == 0:
                    proxy.delay(0.06 if number % 20 else 0.0)  # two round trips: around the limit of 0.3 s
                got = await asyncio.gather(*(get(number * 10 + each) for each in range(4)))
                for each, value in enumerate(got):
                    assert value in {None, str(number * 10 + each).encode()}
                    answered += value is not None
            assert answered > 40


def test_a_uvloop_error_for_a_closed_transport_counts_as_a_redis_failure(redis_url: str) -> None:
    async def lose_the_transport() -> Any:
        client = open_redis(redis_url, name="test")
        async with closing(client):
            best_effort = BestEffort(client)

            async def read(redis: Redis) -> Any:
                return await redis.set("text", "x" * 100_000)

            assert await best_effort(read, None)
            pool: Any = client.connection_pool
            for connection in pool._available_connections:  # noqa: SLF001 - the transport below
                connection._writer.transport.abort()  # noqa: SLF001 - the same
            return await best_effort(read, "fallback")

    assert uvloop.run(lose_the_transport()) in {True, "fallback"}
