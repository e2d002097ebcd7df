"""An order database of the test's own with a pool of connections to it, and an emptied Redis."""

from collections.abc import AsyncIterator

import pytest

from services.common.postgres import Pool, open_pool
from services.common.redis import BestEffort, Redis, closing, open_redis


@pytest.fixture
async def pool(order_database: str) -> AsyncIterator[Pool]:
    async with open_pool(order_database, name="test", size=8) as opened:
        await opened.wait(10)
        yield opened


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[Redis]:
    """A client with the time limits of the request path."""
    opened = open_redis(redis_url, name="test")
    async with closing(opened):
        yield opened


@pytest.fixture
def redis(client: Redis) -> BestEffort:
    return BestEffort(client)
