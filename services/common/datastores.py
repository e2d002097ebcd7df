"""Connects a service to its datastores: PostgreSQL and Redis."""

import contextlib
from collections.abc import AsyncIterator

from services.common.postgres import Pool, open_pool
from services.common.redis import Redis, closing, open_redis
from services.common.settings import ServiceSettings


@contextlib.asynccontextmanager
async def open_datastores(settings: ServiceSettings) -> AsyncIterator[tuple[Pool, Redis]]:
    """Open the database pool and the Redis client, and close both on exit. Neither has to be reachable yet."""
    name = f"valerix-{settings.replica}"
    client = open_redis(settings.redis_url, name=name)
    async with (
        closing(client),
        open_pool(
            settings.database_url, name=name, size=settings.database_connections, pooled=settings.database_pooled
        ) as pool,
    ):
        yield pool, client
