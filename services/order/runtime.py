"""The parts that the order service and its worker share: connections, breaker, processing, background tasks."""

import contextlib
from collections.abc import AsyncIterator
from typing import Literal

import msgspec

from services.common import postgres, redis
from services.common.app import VERSION
from services.common.background import background_tasks
from services.common.datastores import open_datastores
from services.common.health import Identity, Probe
from services.common.http_client import open_session
from services.order.backlog import Backlog
from services.order.breaker_sync import BreakerSync
from services.order.inventory_client import InventoryClient
from services.order.processing import COMMIT_TIMEOUT, Processing
from services.order.settings import OrderSettings


class Runtime(msgspec.Struct, frozen=True):
    """The parts of one running process."""

    pool: postgres.Pool
    redis: redis.BestEffort
    breaker_sync: BreakerSync
    inventory: InventoryClient
    backlog: Backlog
    processing: Processing


@contextlib.asynccontextmanager
async def open_runtime(settings: OrderSettings, role: Literal["order", "worker"]) -> AsyncIterator[Runtime]:
    """Connect and start the background tasks; on exit, finish orders in flight and close in reverse order."""
    async with open_datastores(settings) as (pool, client), open_session() as session:
        best_effort = redis.BestEffort(client)
        breaker_sync = BreakerSync(settings, role, best_effort)
        limit, token = settings.inventory_timeout_seconds, settings.service_tokens[0]
        inventory = InventoryClient(session, settings.inventory_url, token, limit, breaker_sync.breaker)
        backlog = Backlog(pool, settings.backlog_cap, settings.replica)
        commit_timeout = COMMIT_TIMEOUT if role == "order" else None
        processing = Processing(settings, pool, best_effort, inventory, backlog, commit_timeout)
        async with background_tasks(breaker_sync.run(), backlog.run()):
            try:
                yield Runtime(pool, best_effort, breaker_sync, inventory, backlog, processing)
            finally:
                await processing.close()


def identity(settings: OrderSettings, service: str) -> Identity:
    """Return this process's name in health responses."""
    return Identity(service, settings.replica, VERSION)


def own_probes(runtime: Runtime) -> dict[str, Probe]:
    """Return the probes of the required database and of the optional Redis."""

    async def database() -> str | None:
        await postgres.check_schema(runtime.pool, "services.order")
        return runtime.pool.remark

    async def cache() -> None:
        await redis.ping(runtime.redis.client)

    return {"postgres": Probe(database, required=True), "redis": Probe(cache)}


def downstream_probes(runtime: Runtime) -> dict[str, Probe]:
    """Return the probes of inventory, the breaker and the queue, which do not affect readiness."""

    async def inventory() -> None:
        await runtime.inventory.ping()

    async def breaker() -> str | None:
        view = runtime.breaker_sync.own_view()
        return None if view.state == "closed" else f"{view.state}: {view.reason}"

    async def queue() -> str | None:
        stats = await runtime.backlog.refresh()
        return f"{stats.depth} waiting, {stats.dead} dead" if stats.depth or stats.dead else None

    return {"inventory": Probe(inventory), "breaker": Probe(breaker), "queue": Probe(queue)}
