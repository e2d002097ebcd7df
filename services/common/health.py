"""Health endpoints: the process, its own dependencies, everything downstream.

Readiness probes only this service's own dependencies: otherwise a fault of one service would take others out, too.
"""

import asyncio
import math
import os
import time
from collections.abc import Awaitable, Callable
from typing import Literal

import msgspec
import structlog
from litestar import Response, get
from litestar.datastructures import State
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec

from services.common.background import spawn

log = structlog.get_logger()

CACHE_SECONDS = 1.0

Status = Literal["ok", "degraded", "down"]


class Check(msgspec.Struct, frozen=True):
    """The state of one dependency. `latency_ms` is the duration of the probe."""

    status: Status
    latency_ms: float
    detail: str | None = None


class Health(msgspec.Struct, frozen=True):
    status: Status
    service: str
    replica: str
    version: str
    pid: int
    checks: dict[str, Check]


class Probe(msgspec.Struct, frozen=True):
    """Probe of one dependency: `check` raises, or returns a remark, if it is unhealthy.

    A failing probe makes the service `down` if it is `required`, else `degraded`.
    """

    check: Callable[[], Awaitable[str | None]]
    required: bool = False


class Identity(msgspec.Struct, frozen=True):
    """The responding process; `pid` distinguishes processes that have used the same port."""

    service: str
    replica: str
    version: str
    pid: int = msgspec.field(default_factory=os.getpid)

    def health(self, status: Status, checks: dict[str, Check]) -> Health:
        return Health(status, self.service, self.replica, self.version, self.pid, checks)


async def examine(identity: Identity, probes: dict[str, Probe]) -> Health:
    """Run all probes concurrently; the worst result is the service's status."""
    checks = await asyncio.gather(*(_check(probe) for probe in probes.values()))
    named = dict(zip(probes, checks, strict=True))
    order: tuple[Status, ...] = ("ok", "degraded", "down")
    worst: Status = max((check.status for check in checks), key=order.index, default="ok")
    return identity.health(worst, named)


class Examination:
    """Runs probes at most once a second and caches the result.

    Requests for health thereby cannot overload a dependency.
    """

    def __init__(self, identity: Identity, clock: Callable[[], float] = time.monotonic) -> None:
        self._identity = identity
        self._clock = clock
        self._began = -math.inf
        self._found: asyncio.Task[Health] | None = None

    async def result(self, probes: dict[str, Probe]) -> Health:
        """Return the health, at most a second old."""
        now = self._clock()
        if self._found is None or (self._found.done() and now - self._began >= CACHE_SECONDS):
            self._began = now
            self._found = spawn(examine(self._identity, probes), awaited=True)
        return await asyncio.shield(self._found)  # a client that hangs up does not cancel it for others


async def _check(probe: Probe) -> Check:
    began = time.perf_counter()
    try:
        async with asyncio.timeout(3):
            remark = await probe.check()
    except Exception as error:  # noqa: BLE001 - any error is the result of the check
        status: Status = "down" if probe.required else "degraded"
        remark = f"{type(error).__name__}: {error}".strip().rstrip(":")
        log.warning("a dependency is not well", required=probe.required, why=remark)
    else:
        status = "degraded" if remark else "ok"
    return Check(status, round((time.perf_counter() - began) * 1000, 2), remark)


_DOWN = {503: ResponseSpec(Health, description="A required dependency is unavailable.")}


def _answer(health: Health) -> Response[Health]:
    return Response(health, status_code=503 if health.status == "down" else 200)


def health_routes(identity: Identity) -> list[HTTPRouteHandler]:
    """Return the routes for /health, /health/live, /health/ready and /health/deep.

    They run the probes in the application's state, put there as `own_probes` and `downstream_probes` once it is up.
    """
    ready_now, deep_now = Examination(identity), Examination(identity)

    @get("/health/live", tags=["health"])
    async def live() -> Health:
        """Return 200 if the process responds."""
        return identity.health("ok", {})

    @get(["/health", "/health/ready"], tags=["health"], responses=_DOWN)
    async def ready(state: State) -> Response[Health]:
        """Return whether this service is ready: its own dependencies, with their latency."""
        return _answer(await ready_now.result(state.own_probes))

    @get("/health/deep", tags=["health"], responses=_DOWN)
    async def deep(state: State) -> Response[Health]:
        """Return the health of all dependencies, including downstream services."""
        return _answer(await deep_now.result(state.own_probes | state.downstream_probes))

    return [live, ready, deep]
