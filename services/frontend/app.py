"""The dashboard as an ASGI application."""

import contextlib
import functools
import hashlib
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined
from litestar import Litestar, Request, Response
from litestar.datastructures import CacheControlHeader
from litestar.plugins.jinja import JinjaTemplateEngine
from litestar.response import Redirect, Template
from litestar.static_files import create_static_files_router
from litestar.template import TemplateConfig

from services.common import problems
from services.common.app import VERSION, build_app
from services.common.background import background_tasks, run_periodically
from services.common.health import Identity, health_routes
from services.common.http_client import open_session
from services.common.middleware import Headers, RequestMiddleware
from services.common.rate_limit import LocalRateLimit
from services.common.redis import BestEffort, Redis, closing, open_redis
from services.frontend import actions, pages
from services.frontend.backends import Backend
from services.frontend.dashboard import Dashboard
from services.frontend.event_stream import EventStream
from services.frontend.filters import FILTERS, finalize
from services.frontend.forms import form_token_required
from services.frontend.operator_actions import OperatorActions
from services.frontend.revocations import Revocations
from services.frontend.sessions import SESSION_SECONDS, Sessions
from services.frontend.settings import FrontendSettings
from services.frontend.sign_in import NotSignedIn, SignIn, key_of
from services.frontend.snapshot import Collector


def _fingerprint(directory: Path) -> str:
    """Return a hash of the files, which is part of their URLs: browsers cache them for a year."""
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]


WEB = Path(__file__).parent / "web"
ASSETS = f"/assets/{_fingerprint(WEB)}"
ONE_YEAR = 31_536_000  # seconds
REVOCATION_SYNC_INTERVAL = 1.0  # seconds

POLICY = b"; ".join(
    [
        b"default-src 'none'",
        b"script-src 'self'",
        b"style-src 'self'",
        b"img-src 'self' data:",
        b"connect-src 'self'",
        b"form-action 'self'",
        b"base-uri 'none'",
        b"frame-ancestors 'none'",
    ]
)
HEADERS: Headers = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"content-security-policy", POLICY),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]


def build(settings: FrontendSettings) -> RequestMiddleware:
    """Build the application."""
    environment = Environment(
        loader=PackageLoader("services.frontend"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= FILTERS
    environment.globals |= {"assets": ASSETS, "version": VERSION}
    event_stream = EventStream()
    redis = open_redis(settings.redis_url, name=settings.replica) if settings.redis_url else None
    revocations = Revocations(BestEffort(redis) if redis else None, SESSION_SECONDS)
    sessions = Sessions(key_of(settings.dashboard_password), revocations, is_secure=settings.secure_cookies)
    state = {
        "sign_in": SignIn(settings.dashboard_password, revocations),
        "sessions": sessions,
        "trusted_hops": settings.trusted_hops,
        "rate_limit": LocalRateLimit(settings.rate_limit_per_minute, settings.trusted_hops),
        "own_probes": {},
        "downstream_probes": {},
    }
    app = build_app(
        "Valerix dashboard",
        [
            *health_routes(Identity("frontend", settings.replica, VERSION)),
            pages.index,
            pages.order,
            pages.events,
            pages.sign_in_page,
            pages.sign_in,
            pages.sign_out,
            actions.routes,
            create_static_files_router(
                path=ASSETS,
                directories=[WEB],
                cache_control=CacheControlHeader(max_age=ONE_YEAR, immutable=True, public=True),
                include_in_schema=False,
            ),
        ],
        [
            functools.partial(_syncing_revocations, revocations, redis),
            functools.partial(_running, settings, event_stream, environment),
        ],
        state,
        middleware=[sessions.middleware],
        guards=[form_token_required],
        template_config=TemplateConfig(instance=JinjaTemplateEngine.from_environment(environment)),
        cache_control=CacheControlHeader(no_store=True),
        exception_handlers=dict.fromkeys(problems.EXCEPTION_HANDLERS, _error_response),
    )
    return RequestMiddleware(app, allowed_hosts=settings.allowed_hosts, headers=HEADERS, at_stop=event_stream.close)


@contextlib.asynccontextmanager
async def _running(
    settings: FrontendSettings, event_stream: EventStream, environment: Environment, app: Litestar
) -> AsyncIterator[None]:
    """Poll the services while the application runs."""
    services = (
        ("the order service", settings.order_url),
        ("inventory", settings.inventory_url),
        ("the worker", settings.worker_url),
    )
    async with open_session() as shared, open_session(reuse=False) as unshared:
        # A poll on a dead connection is repeated within a second; an operator's request would wait for the timeout.
        orders, inventory, worker = (Backend(shared, *each, settings.operator_token) for each in services)
        orders_fresh, inventory_fresh, _ = (Backend(unshared, *each, settings.operator_token) for each in services)
        operator_actions = OperatorActions(orders_fresh, inventory_fresh, settings.audit_command)
        dashboard = Dashboard(Collector(orders, inventory, worker), operator_actions, event_stream, environment)
        app.state.update({"operator_actions": operator_actions, "dashboard": dashboard})
        interval = settings.refresh_interval_seconds
        refreshing = run_periodically("refresh dashboard", lambda: dashboard.refresh_periodically(interval), interval)
        async with background_tasks(refreshing, *_scheduled_audits(settings, dashboard)):
            yield


@contextlib.asynccontextmanager
async def _syncing_revocations(revocations: Revocations, redis: Redis | None, _: Litestar) -> AsyncIterator[None]:
    """Load revoked sessions before the first request, then sync them with other replicas."""
    if redis is None:
        yield
        return
    await revocations.sync()
    async with (
        closing(redis),
        background_tasks(run_periodically("sync revoked sessions", revocations.sync, REVOCATION_SYNC_INTERVAL)),
    ):
        yield


def _scheduled_audits(settings: FrontendSettings, dashboard: Dashboard) -> list[Coroutine[Any, Any, None]]:
    """Return the background task of scheduled audits, if configured."""
    if settings.audit_command is None or settings.audit_interval_seconds is None:
        return []
    return [run_periodically("audit", dashboard.run_scheduled_audit, settings.audit_interval_seconds)]


def _error_response(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """Respond to an error with a page for browsers, else with a problem document. Neither is cached."""
    problem = problems.from_exception(request, error)
    problem.headers["Cache-Control"] = "no-store"
    if "text/html" not in request.headers.get("accept", ""):
        return problem
    if isinstance(error, NotSignedIn):
        return Redirect("/sign-in", status_code=303, headers={"Cache-Control": "no-store"})
    return Template(
        template_name="problem.html",
        context={"problem": msgspec.json.decode(problem.content), "operator": False, "notices": []},
        status_code=problem.status_code or 500,
        headers=problem.headers,
    )
