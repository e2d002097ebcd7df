"""The order service as an ASGI application."""

import contextlib
from collections.abc import AsyncIterator

from litestar import Litestar

from services.common import crash_points
from services.common.app import build_app
from services.common.auth import Access
from services.common.fast_route import FastRoute
from services.common.health import health_routes
from services.common.middleware import RequestMiddleware
from services.common.rate_limit import RateLimit
from services.order import admin, api
from services.order.runtime import downstream_probes, identity, open_runtime, own_probes
from services.order.settings import OrderSettings

CRASH_POINTS = frozenset(
    {"after-accept", "before-send", "after-answer", "before-settle", "after-settle", "after-cache"}
)


def build(settings: OrderSettings) -> RequestMiddleware:
    """Build the application. Raises SettingsError if the crash point is unknown or not allowed."""
    crash_points.arm(settings, CRASH_POINTS)

    @contextlib.asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        async with open_runtime(settings, "order") as runtime:
            app.state.update(
                {
                    "pool": runtime.pool,
                    "redis": runtime.redis,
                    "breaker_sync": runtime.breaker_sync,
                    "backlog": runtime.backlog,
                    "processing": runtime.processing,
                    "own_probes": own_probes(runtime),
                    "downstream_probes": downstream_probes(runtime),
                    "rate_limit": RateLimit(runtime.redis, settings.rate_limit_per_minute, settings.trusted_hops),
                }
            )
            yield

    handlers = [
        *health_routes(identity(settings, "order")),
        api.place_order,
        api.get_order,
        api.get_events,
        api.list_orders,
        admin.get_breaker,
        admin.force_breaker,
        admin.get_platform,
        admin.get_queue,
        admin.requeue,
    ]
    state = {"access": Access(settings), "replica": settings.replica}
    app = build_app("Valerix orders", handlers, [lifespan], state)
    fast_route = FastRoute(app, "POST", api.PLACE, api.PLACE_GUARDS, api.place)
    return RequestMiddleware(app, allowed_hosts=settings.allowed_hosts, fast_route=fast_route)
