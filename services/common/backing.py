"""What a service with a database is connected to, as its settings say."""

import contextlib
from collections.abc import AsyncIterator

from services.common.postgres import Pool, open_pool
from services.common.redis import Redis, closing, open_redis
from services.common.settings import ServiceSettings


@contextlib.asynccontextmanager
async def connected(settings: ServiceSettings) -> AsyncIterator[tuple[Pool, Redis]]:
    """Its database and its Redis, both closed on leaving; neither has to be there yet."""
    name = f"valerix-{settings.replica}"
    client = open_redis(settings.redis_url, name=name)
    async with (
        closing(client),
        open_pool(
            settings.database_url, name=name, size=settings.database_connections, pooled=settings.database_pooled
        ) as pool,
    ):
        yield pool, client
