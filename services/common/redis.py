"""Redis, which may vanish at any moment: nothing is kept here that may not be lost."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import redis.asyncio as redis_asyncio
import structlog
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

log = structlog.get_logger()

T = TypeVar("T")
Redis = redis_asyncio.Redis

LIMIT = 0.3  # seconds that a request may wait for Redis
REST = 1.0  # seconds that Redis is left alone after a failure, so that its callers stop paying for it

FAILURES = (RedisError, OSError, TimeoutError)


def open_redis(url: str, *, name: str, socket_timeout: float = LIMIT, connect_timeout: float = LIMIT) -> Redis:
    """A client without retries: the library's own (10 of them) stall a caller for seconds and repeat writes."""
    return redis_asyncio.from_url(
        url,
        client_name=name,
        socket_timeout=socket_timeout,
        socket_connect_timeout=connect_timeout,
        retry=Retry(NoBackoff(), 0),
        decode_responses=False,
    )


class BestEffort:
    """Runs Redis operations that may as well not happen: on any failure the caller gets the fallback."""

    def __init__(self, client: Redis, limit: float = LIMIT) -> None:
        self.client = client
        self._limit = limit
        self._rested_at = 0.0

    async def __call__(self, operation: Callable[[Redis], Awaitable[T]], fallback: T) -> T:
        """Return what `operation` returns within the limit, else `fallback`; at once while Redis rests."""
        if time.monotonic() < self._rested_at:
            return fallback
        try:
            async with asyncio.timeout(self._limit):
                return await operation(self.client)
        except FAILURES as error:
            self._rested_at = time.monotonic() + REST
            log.warning("redis unavailable, going on without", error=repr(error))
            return fallback


@contextlib.asynccontextmanager
async def closing(client: Redis) -> AsyncIterator[None]:
    """Close `client` on leaving."""
    try:
        yield
    finally:
        await client.aclose()


async def ping(client: Redis) -> None:
    """Raise unless Redis answers in time."""
    async with asyncio.timeout(LIMIT):
        await client.ping()
