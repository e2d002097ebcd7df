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
from services.common.background import beside, forever
from services.common.backing import connected
from services.common.edge import Edge
from services.common.group_commit import GroupCommit
from services.common.health import Identity, Probe, health_routes
from services.common.postgres import Pool
from services.common.rate_limit import RateLimit
from services.common.shortcut import Shortcut
from services.inventory import admin, api, usecases
from services.inventory.leases import Leases
from services.inventory.metrics import STOCK
from services.inventory.settings import InventorySettings
from services.inventory.usecases import Deductions

CRASH_POINTS = frozenset({"after-insert", "before-commit", "after-commit"})
LANES = 2  # commits in flight at once: one decides while the other waits for the disk
STOCK_SHOWN_EVERY = 1.0  # seconds


def build(settings: InventorySettings) -> Edge:
    """Raises SettingsError for a crash point that may not or cannot be armed."""
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
    shortcut = Shortcut(app, "POST", api.DEDUCTIONS, api.DEDUCTIONS_GUARDS, api.deduct_lines)
    return Edge(shortcut, allowed_hosts=settings.allowed_hosts)


@contextlib.asynccontextmanager
async def _running(settings: InventorySettings, app: Litestar) -> AsyncIterator[None]:
    """Connect everything; on leaving, finish what is in hand, tell what was counted, and close."""
    async with connected(settings) as (pool, client):
        deductions: Deductions = GroupCommit(
            "deduct",
            functools.partial(usecases.deduct, pool),
            lanes=LANES,
            outages=postgres.OUTAGES,
            patience=usecases.COMMIT_LIMIT,
        )
        leases = Leases(client, settings.replica, uuid.uuid4().hex[:8])
        app.state.update(
            {
                "pool": pool,
                "redis": client,
                "deductions": deductions,
                "leases": leases,
                "rate_limit": RateLimit(
                    redis.BestEffort(client), settings.rate_limit_per_minute, settings.trusted_hops
                ),
                "own_probes": _own_probes(pool, client),
                "downstream_probes": {},
            }
        )
        async with beside(_keep_stock_shown(pool), *([leases.follow()] if settings.chaos_allowed else [])):
            yield
            await deductions.close()


async def _keep_stock_shown(pool: Pool) -> None:
    """Refresh the stock metric until cancelled; while the database is away it shows what was last known."""

    async def show() -> None:
        with contextlib.suppress(*postgres.OUTAGES):
            for item_id, quantity in (await usecases.stock_levels(pool)).items():
                STOCK.labels(item_id).set(quantity)

    await forever("show stock levels", show, STOCK_SHOWN_EVERY)


def _own_probes(pool: Pool, client: redis.Redis) -> dict[str, Probe]:
    """What this service cannot do without, and what it can."""

    async def database() -> str | None:
        await postgres.check_schema(pool, "services.inventory")
        return pool.remark

    async def gremlins() -> None:
        await redis.ping(client)

    return {"postgres": Probe(database, vital=True), "redis": Probe(gremlins)}
