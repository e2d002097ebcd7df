"""What the order service and its worker both run on: connections, breaker, steps, and what keeps them fresh."""

import contextlib
from collections.abc import AsyncIterator
from typing import Literal

import msgspec

from services.common import postgres, redis
from services.common.app import VERSION
from services.common.background import beside
from services.common.backing import connected
from services.common.health import Identity, Probe
from services.common.http import open_session
from services.order.backlog import Backlog
from services.order.fleet import Fleet
from services.order.inventory import Inventory
from services.order.processing import COMMIT_LIMIT, Processing
from services.order.settings import OrderSettings


class Runtime(msgspec.Struct, frozen=True):
    """The parts of one running process."""

    pool: postgres.Pool
    redis: redis.BestEffort
    fleet: Fleet
    inventory: Inventory
    backlog: Backlog
    processing: Processing


@contextlib.asynccontextmanager
async def running(settings: OrderSettings, role: Literal["order", "worker"]) -> AsyncIterator[Runtime]:
    """Connect everything; on leaving, finish what is in hand, flush, and close in the opposite order."""
    async with connected(settings) as (pool, client), open_session() as session:
        best_effort = redis.BestEffort(client)
        fleet = Fleet(settings, role, best_effort)
        limit, token = settings.inventory_timeout_seconds, settings.service_tokens[0]
        inventory = Inventory(session, settings.inventory_url, token, limit, fleet.breaker)
        backlog = Backlog(pool, settings.backlog_cap, settings.replica)
        patience = COMMIT_LIMIT if role == "order" else None
        processing = Processing(settings, pool, best_effort, inventory, backlog, patience)
        async with beside(fleet.keep_in_touch(), backlog.keep_looking()):
            try:
                yield Runtime(pool, best_effort, fleet, inventory, backlog, processing)
            finally:
                await processing.close()


def identity(settings: OrderSettings, service: str) -> Identity:
    return Identity(service, settings.replica, VERSION)


def own_probes(runtime: Runtime) -> dict[str, Probe]:
    """What this process cannot do without, and what it can."""

    async def database() -> str | None:
        await postgres.check_schema(runtime.pool, "services.order")
        return runtime.pool.remark

    async def cache() -> None:
        await redis.ping(runtime.redis.client)

    return {"postgres": Probe(database, vital=True), "redis": Probe(cache)}


def downstream_probes(runtime: Runtime) -> dict[str, Probe]:
    async def inventory() -> None:
        await runtime.inventory.ping()

    async def breaker() -> str | None:
        view = runtime.fleet.own_view()
        return None if view.state == "closed" else f"{view.state}: {view.reason}"

    async def queue() -> str | None:
        seen = await runtime.backlog.look()
        return f"{seen.depth} waiting, {seen.dead} dead" if seen.depth or seen.dead else None

    return {"inventory": Probe(inventory), "breaker": Probe(breaker), "queue": Probe(queue)}
