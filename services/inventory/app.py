"""The inventory service as an ASGI application."""

import contextlib
import functools
import uuid
from collections.abc import AsyncIterator

from litestar import Litestar
from litestar.types import ControllerRouterHandler

from services.common import crash_points, postgres, redis
from services.common.app import VERSION, build_app
from services.common.auth import Access
from services.common.background import background_tasks, run_periodically
from services.common.datastores import open_datastores
from services.common.fast_route import FastRoute
from services.common.group_commit import GroupCommit
from services.common.health import Identity, Probe, health_routes
from services.common.middleware import RequestMiddleware
from services.common.postgres import Pool
from services.common.rate_limit import RateLimit
from services.inventory import admin, api, usecases
from services.inventory.chaos_leases import LeaseFollower
from services.inventory.metrics import STOCK
from services.inventory.settings import InventorySettings
from services.inventory.usecases import Deductions

CRASH_POINTS = frozenset({"after-insert", "before-commit", "after-commit"})
MAX_COMMITS_IN_FLIGHT = 2  # one decides while the other waits for the disk
STOCK_REFRESH_INTERVAL = 1.0  # seconds


def build(settings: InventorySettings) -> RequestMiddleware:
    """Build the application. Raises SettingsError if the crash point is unknown or not allowed."""
    crash_points.arm(settings, CRASH_POINTS)
    handlers: list[ControllerRouterHandler] = [
        *health_routes(Identity("inventory", settings.replica, VERSION)),
        api.deduct,
        api.deduct_many,
        api.list_items,
        api.get_item,
        api.get_ledger,
        api.restock,
    ]
    if settings.chaos_allowed:
        handlers.append(admin.routes)
    lifespan = functools.partial(_running, settings)
    app = build_app("Valerix inventory", handlers, [lifespan], {"access": Access(settings)})
    fast_route = FastRoute(app, "POST", api.DEDUCTIONS, api.DEDUCTIONS_GUARDS, api.deduct_lines)
    return RequestMiddleware(fast_route, allowed_hosts=settings.allowed_hosts)


@contextlib.asynccontextmanager
async def _running(settings: InventorySettings, app: Litestar) -> AsyncIterator[None]:
    """Connect to the databases; on exit, finish deductions in flight, report chaos counts, and close."""
    async with open_datastores(settings) as (pool, client):
        deductions: Deductions = GroupCommit(
            "deduct",
            functools.partial(usecases.deduct_batch, pool),
            max_in_flight=MAX_COMMITS_IN_FLIGHT,
            outages=postgres.OUTAGES,
            timeout=usecases.COMMIT_TIMEOUT,
        )
        chaos_leases = LeaseFollower(client, settings.replica, uuid.uuid4().hex[:8])
        app.state.update(
            {
                "pool": pool,
                "redis": client,
                "deductions": deductions,
                "chaos_leases": chaos_leases,
                "rate_limit": RateLimit(
                    redis.BestEffort(client), settings.rate_limit_per_minute, settings.trusted_hops
                ),
                "own_probes": _own_probes(pool, client),
                "downstream_probes": {},
            }
        )
        async with background_tasks(
            _refresh_stock_metric(pool), *([chaos_leases.run()] if settings.chaos_allowed else [])
        ):
            yield
            await deductions.close()


async def _refresh_stock_metric(pool: Pool) -> None:
    """Refresh the stock metric until cancelled. During a database outage it keeps the last values."""

    async def refresh() -> None:
        with contextlib.suppress(*postgres.OUTAGES):
            for item_id, quantity in (await usecases.stock_levels(pool)).items():
                STOCK.labels(item_id).set(quantity)

    await run_periodically("refresh stock metric", refresh, STOCK_REFRESH_INTERVAL)


def _own_probes(pool: Pool, client: redis.Redis) -> dict[str, Probe]:
    """Return the probes of the required database and of the optional Redis."""

    async def database() -> str | None:
        await postgres.check_schema(pool, "services.inventory")
        return pool.remark

    async def chaos_redis() -> None:
        await redis.ping(client)

    return {"postgres": Probe(database, required=True), "redis": Probe(chaos_redis)}
