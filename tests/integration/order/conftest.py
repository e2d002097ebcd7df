"""An order database per test with a pool of connections to it, and an emptied Redis."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.common.postgres import Pool, open_pool
from services.common.redis import BestEffort, Redis, closing, open_redis
from tests.integration.order.replica import Replica, Start
from tests.unit.order.fake_inventory import Warehouse

PATIENCE = 5.0  # seconds


@pytest.fixture(autouse=True)
async def closed_warehouses() -> AsyncIterator[None]:
    """Closes what the test opened."""
    yield
    await Warehouse.close_all()


@pytest.fixture
async def pool(order_database: str) -> AsyncIterator[Pool]:
    async with open_pool(order_database, name="test", size=8) as opened:
        await opened.wait(10)
        yield opened


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[Redis]:
    """Client with timeouts for a busy machine."""
    opened = open_redis(redis_url, name="test", socket_timeout=PATIENCE, connect_timeout=PATIENCE)
    async with closing(opened):
        yield opened


@pytest.fixture
def redis(client: Redis) -> BestEffort:
    return BestEffort(client, PATIENCE)


@pytest.fixture
async def hasty(redis_url: str) -> AsyncIterator[BestEffort]:
    """Redis with the timeouts of the request path."""
    opened = open_redis(redis_url, name="hasty")
    async with closing(opened):
        yield BestEffort(opened)


@pytest.fixture
async def start(pool: Pool, redis: BestEffort) -> AsyncIterator[Start]:
    """Starts replicas on this test's database; each finishes its work when the test ends."""
    started: list[Replica] = []

    def start(**settings: Any) -> Replica:
        started.append(Replica(pool, redis, **settings))
        return started[-1]

    yield start
    for replica in started:
        await replica.finish()
