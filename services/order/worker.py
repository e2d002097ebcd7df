"""`python -m services.order.worker`: the worker, which processes queued orders.

The sweeper claims due orders at an interval; a wake-up from Redis has an order claimed sooner. Both process only orders
that they have claimed.
"""

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Coroutine
from datetime import timedelta

import msgspec
import structlog
from litestar import Litestar

from services.common import crash_points, request_context, tracing
from services.common.app import build_app
from services.common.auth import Access
from services.common.background import background_tasks, run_periodically, spawn
from services.common.crash_points import crash_point
from services.common.health import health_routes
from services.common.middleware import RequestMiddleware
from services.common.postgres import OUTAGES
from services.common.redis import FAILURES, Redis, drop_idle, open_redis
from services.common.server import run
from services.order import usecases
from services.order.domain import Claim
from services.order.metrics import WORKER_HEARTBEAT, WORKER_HEARTBEAT_AGE
from services.order.runtime import Runtime, downstream_probes, identity, open_runtime, own_probes
from services.order.settings import OrderSettings
from services.order.wakeups import READ_TIMEOUT, Reader, WakeUp

log = structlog.get_logger()

CRASH_POINTS = frozenset({"after-read", "after-claim", "after-deduct", "after-settle", "before-ack"})

SWEEP_INTERVAL = 0.5  # seconds
MAX_CLAIMS = 256  # orders per claim
MAX_IN_FLIGHT = 1024  # orders; more would wait for each other while their leases run
RECONNECT_INTERVAL = 1.0  # seconds


class Worker:
    """Claims due orders and processes them until shutdown."""

    def __init__(self, settings: OrderSettings, runtime: Runtime) -> None:
        self._runtime = runtime
        self._lease, self._by = timedelta(seconds=settings.lease_seconds), settings.replica
        self._in_flight = 0
        self._is_shutting_down = False
        self._work: set[asyncio.Task[None]] = set()
        self._last_sweep = time.monotonic()
        WORKER_HEARTBEAT_AGE.set_function(lambda: time.monotonic() - self._last_sweep)

    async def sweep(self) -> None:
        """Claim due orders; repeat while a claim returns as many as there is capacity for."""
        self._last_sweep = time.monotonic()
        WORKER_HEARTBEAT.set_to_current_time()
        while capacity := self._capacity():
            claims = await self._claim(capacity, None)
            if claims:
                self._track(self._process_all(claims))
            if len(claims) < capacity:
                break

    async def listen(self, redis: Redis, consumer: str) -> None:
        """Process orders when their wake-ups are due. Without Redis, only the sweeper works."""
        reader = Reader(redis, consumer)
        try:
            async for batch in reader.read():
                crash_point(*(["after-read"] if batch else []))
                for delay, wake_ups in _by_delay(batch).items():
                    asyncio.get_running_loop().call_later(delay, self._on_wakeups, reader, wake_ups)
        except FAILURES as error:
            log.warning("wake-ups unavailable, relying on the sweeper", error=repr(error))
            await drop_idle(redis)

    async def drain(self) -> None:
        """Wait for the orders in flight."""
        while self._work:
            await asyncio.wait(self._work)

    async def shutdown(self) -> None:
        """Claim nothing more, also for pending wake-ups, and wait for the orders in flight."""
        self._is_shutting_down = True
        await self.drain()

    def _on_wakeups(self, reader: Reader, wake_ups: list[WakeUp]) -> None:
        if not self._is_shutting_down:
            self._track(self._handle_wakeups(reader, wake_ups))

    async def _handle_wakeups(self, reader: Reader, wake_ups: list[WakeUp]) -> None:
        capacity = min(self._capacity(), len(wake_ups))
        claims = await self._claim(capacity, [wake_up.order_id for wake_up in wake_ups]) if capacity else []
        await self._process_all(claims)
        crash_point("before-ack")
        await reader.acknowledge(wake_ups)

    def _capacity(self) -> int:
        """Return how many orders to claim: none while the breaker is open, one for a trial call, else the capacity."""
        breaker = self._runtime.breaker_sync.breaker
        if breaker.retry_in() > 0:
            return 0
        if breaker.state_name != "closed" and breaker.forced is None:
            return 0 if self._in_flight else 1
        return min(MAX_CLAIMS, MAX_IN_FLIGHT - self._in_flight)

    async def _claim(self, capacity: int, among: list[uuid.UUID] | None) -> list[Claim]:
        claims: list[Claim] = []
        self._in_flight += capacity  # reserved, so that sweeper and listener together respect the limit
        try:
            claims = await usecases.claim(self._runtime.pool, self._lease, self._by, capacity, among)
        except OUTAGES as error:
            log.warning("cannot claim orders, database unavailable", error=repr(error))
        finally:
            self._in_flight -= capacity - len(claims)
        if claims:
            crash_point("after-claim")
        return claims

    async def _process_all(self, claims: list[Claim]) -> None:
        await asyncio.gather(*(self._process(claim) for claim in claims))

    async def _process(self, claim: Claim) -> None:
        try:
            with tracing.span(f"attempt {claim.attempt}", "consumer", [claim.traceparent]) as span:
                if span is not None:
                    span.set_attributes(valerix__order_id=str(claim.order_id), valerix__attempt=claim.attempt)
                    claim = msgspec.structs.replace(claim, traceparent=span.traceparent)
                request_context.traceparent.set(claim.traceparent)
                await self._runtime.processing.process(claim)
        except OUTAGES as error:
            log.warning("cannot settle order, its lease will end", order_id=str(claim.order_id), error=repr(error))
        except Exception:
            log.exception("order not processed, its lease will end", order_id=str(claim.order_id))
        finally:
            self._in_flight -= 1

    def _track(self, work: Coroutine[None, None, None]) -> None:
        task = spawn(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)


def _by_delay(batch: list[WakeUp]) -> dict[float, list[WakeUp]]:
    """Group wake-ups that are due within the same 50 ms."""
    groups: dict[float, list[WakeUp]] = {}
    for wake_up in batch:
        groups.setdefault(round(wake_up.delay * 20 + 0.5) / 20, []).append(wake_up)
    return groups


@contextlib.asynccontextmanager
async def worker_runtime(settings: OrderSettings) -> AsyncIterator[Runtime]:
    """Run a worker; on exit, claim nothing more and finish orders in flight."""
    async with open_runtime(settings, "worker") as runtime:
        worker = Worker(settings, runtime)
        redis = open_redis(settings.redis_url, name=f"valerix-{settings.replica}-reader", socket_timeout=READ_TIMEOUT)
        try:
            async with background_tasks(
                run_periodically("sweep", worker.sweep, SWEEP_INTERVAL),
                run_periodically("listen", lambda: worker.listen(redis, settings.replica), RECONNECT_INTERVAL),
            ):
                yield runtime
        finally:
            await worker.shutdown()
            await redis.aclose()


def build(settings: OrderSettings) -> RequestMiddleware:
    """Build the application with the worker's health and metrics; the worker runs in its lifespan."""
    crash_points.arm(settings, CRASH_POINTS)

    @contextlib.asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        async with worker_runtime(settings) as runtime:
            app.state.update({"own_probes": own_probes(runtime), "downstream_probes": downstream_probes(runtime)})
            yield

    state = {"access": Access(settings)}
    app = build_app("Valerix order worker", health_routes(identity(settings, "worker")), [lifespan], state)
    return RequestMiddleware(app, allowed_hosts=settings.allowed_hosts)


if __name__ == "__main__":
    run("worker", OrderSettings, build)
