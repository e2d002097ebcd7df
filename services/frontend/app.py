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
from services.common.background import beside, forever
from services.common.edge import Edge, Headers
from services.common.health import Identity, health_routes
from services.common.http import open_session
from services.common.rate_limit import LocalRateLimit
from services.common.redis import BestEffort, Redis, closing, open_redis
from services.frontend import actions, pages
from services.frontend.backends import Backend
from services.frontend.board import Board
from services.frontend.deeds import Deeds
from services.frontend.feed import Feed
from services.frontend.forms import ours_only
from services.frontend.ledger import Ledger
from services.frontend.sessions import LASTS, Sessions
from services.frontend.settings import FrontendSettings
from services.frontend.sights import Watcher
from services.frontend.signing import Door, NotSignedIn, key_of
from services.frontend.words import FILTERS, finalize


def _fingerprint(directory: Path) -> str:
    """What names this very content: browsers keep it for a year, and ask for what has changed by another name."""
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]


WEB = Path(__file__).parent / "web"
ASSETS = f"/assets/{_fingerprint(WEB)}"
A_YEAR = 31_536_000  # seconds
EXCHANGE_EVERY = 1.0  # seconds

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


def build(settings: FrontendSettings) -> Edge:
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
    feed = Feed()
    redis = open_redis(settings.redis_url, name=settings.replica) if settings.redis_url else None
    ledger = Ledger(BestEffort(redis) if redis else None, LASTS)
    sessions = Sessions(key_of(settings.dashboard_password), ledger, is_secure=settings.secure_cookies)
    state = {
        "door": Door(settings.dashboard_password, ledger),
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
            pages.feed,
            pages.sign_in_page,
            pages.sign_in,
            pages.sign_out,
            actions.routes,
            create_static_files_router(
                path=ASSETS,
                directories=[WEB],
                cache_control=CacheControlHeader(max_age=A_YEAR, immutable=True, public=True),
                include_in_schema=False,
            ),
        ],
        [functools.partial(_sharing, ledger, redis), functools.partial(_running, settings, feed, environment)],
        state,
        middleware=[sessions.middleware],
        guards=[ours_only],
        template_config=TemplateConfig(instance=JinjaTemplateEngine.from_environment(environment)),
        cache_control=CacheControlHeader(no_store=True),
        exception_handlers=dict.fromkeys(problems.EXCEPTION_HANDLERS, _as_page),
    )
    return Edge(app, allowed_hosts=settings.allowed_hosts, headers=HEADERS, at_stop=feed.close)


@contextlib.asynccontextmanager
async def _running(
    settings: FrontendSettings, feed: Feed, environment: Environment, app: Litestar
) -> AsyncIterator[None]:
    """Watch the services; on leaving, stop."""
    services = (
        ("the order service", settings.order_url),
        ("inventory", settings.inventory_url),
        ("the worker", settings.worker_url),
    )
    async with open_session() as shared, open_session(reuse=False) as unshared:
        # A poll that meets a dead connection is repeated within a second; an operator would wait for the time limit.
        orders, inventory, worker = (Backend(shared, *each, settings.operator_token) for each in services)
        orders_apart, inventory_apart, _ = (Backend(unshared, *each, settings.operator_token) for each in services)
        deeds = Deeds(orders_apart, inventory_apart, settings.audit_command)
        board = Board(Watcher(orders, inventory, worker), deeds, feed, environment)
        app.state.update({"deeds": deeds, "board": board})
        every = settings.look_every_seconds
        looking = forever("look at the platform", lambda: board.look_and_rest(every), every)
        async with beside(looking, *_auditing(settings, board)):
            yield


@contextlib.asynccontextmanager
async def _sharing(ledger: Ledger, redis: Redis | None, _: Litestar) -> AsyncIterator[None]:
    """Learn which sessions have ended before any is taken, then exchange it with the other replicas all the time."""
    if redis is None:
        yield
        return
    await ledger.exchange()
    async with closing(redis), beside(forever("exchange sign-outs", ledger.exchange, EXCHANGE_EVERY)):
        yield


def _auditing(settings: FrontendSettings, board: Board) -> list[Coroutine[Any, Any, None]]:
    """Audits without end, where that is wanted."""
    if settings.audit_command is None or settings.audit_every_seconds is None:
        return []
    return [forever("audit", board.audit_by_itself, settings.audit_every_seconds)]


def _as_page(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """What went wrong: as a page for browsers, else as a problem. Nobody keeps either."""
    problem = problems.of(request, error)
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
