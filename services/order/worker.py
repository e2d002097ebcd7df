"""`python -m services.order.worker`: finishes what could not be finished at once.

A wake-up from Redis makes it look sooner; the sweeper looks anyway. Both only ever take what a claim gives them.
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

from services.common import context, crash_points, tracing
from services.common.app import build_app
from services.common.auth import Access
from services.common.background import beside, forever, spawn
from services.common.crash_points import crash_point
from services.common.edge import Edge
from services.common.health import health_routes
from services.common.postgres import OUTAGES
from services.common.redis import FAILURES, Redis, drop_idle, open_redis
from services.common.server import run
from services.order import usecases
from services.order.domain import Claim
from services.order.metrics import WORKER_HEARTBEAT, WORKER_HEARTBEAT_AGE
from services.order.runtime import Runtime, downstream_probes, identity, own_probes, running
from services.order.settings import OrderSettings
from services.order.wakeups import READ_LIMIT, Reader, WakeUp

log = structlog.get_logger()

CRASH_POINTS = frozenset({"after-read", "after-claim", "after-deduct", "after-settle", "before-ack"})

SWEEP_EVERY = 0.5  # seconds
BATCH = 256  # orders per claim
IN_HAND = 1024  # orders at once: more would only wait for each other with their leases running
REJOIN_AFTER = 1.0  # seconds without Redis


class Worker:
    """Claims what is due and processes it, until told to finish."""

    def __init__(self, settings: OrderSettings, runtime: Runtime) -> None:
        self._runtime = runtime
        self._lease, self._by = timedelta(seconds=settings.lease_seconds), settings.replica
        self._in_hand = 0
        self._ending = False
        self._work: set[asyncio.Task[None]] = set()
        self._looked_at = time.monotonic()
        WORKER_HEARTBEAT_AGE.set_function(lambda: time.monotonic() - self._looked_at)

    async def sweep(self) -> None:
        """Look once for due orders, and again while each look finds all there is room for."""
        self._looked_at = time.monotonic()
        WORKER_HEARTBEAT.set_to_current_time()
        while room := self._room():
            claims = await self._take(room, None)
            if claims:
                self._track(self._process_all(claims))
            if len(claims) < room:
                break

    async def listen(self, redis: Redis, consumer: str) -> None:
        """Try an order as soon as its wake-up says that it is due. Without Redis the sweeper is enough."""
        reader = Reader(redis, consumer)
        try:
            async for batch in reader.batches():
                crash_point(*(["after-read"] if batch else []))
                for delay, wake_ups in _by_delay(batch).items():
                    asyncio.get_running_loop().call_later(delay, self._answer, reader, wake_ups)
        except FAILURES as error:
            log.warning("wake-ups unavailable, the sweeper goes on", error=repr(error))
            await drop_idle(redis)

    async def catch_up(self) -> None:
        """Wait for the orders in hand."""
        while self._work:
            await asyncio.wait(self._work)

    async def finish(self) -> None:
        """Take nothing more, not on a wake-up that is still to come either, and wait for the orders in hand."""
        self._ending = True
        await self.catch_up()

    def _answer(self, reader: Reader, wake_ups: list[WakeUp]) -> None:
        if not self._ending:
            self._track(self._try(reader, wake_ups))

    async def _try(self, reader: Reader, wake_ups: list[WakeUp]) -> None:
        room = min(self._room(), len(wake_ups))
        claims = await self._take(room, [wake_up.order_id for wake_up in wake_ups]) if room else []
        await self._process_all(claims)
        crash_point("before-ack")
        await reader.acknowledge(wake_ups)

    def _room(self) -> int:
        """How many orders to claim: none while the breaker holds calls back, one as its trial, else what fits."""
        breaker = self._runtime.fleet.breaker
        if breaker.retry_in() > 0:
            return 0
        if breaker.state_name != "closed" and breaker.forced is None:
            return 0 if self._in_hand else 1
        return min(BATCH, IN_HAND - self._in_hand)

    async def _take(self, room: int, among: list[uuid.UUID] | None) -> list[Claim]:
        claims: list[Claim] = []
        self._in_hand += room  # promised, so that the sweeper and the listener together keep to the limit
        try:
            claims = await usecases.claim(self._runtime.pool, self._lease, self._by, room, among)
        except OUTAGES as error:
            log.warning("cannot claim, the database is away", error=repr(error))
        finally:
            self._in_hand -= room - len(claims)
        if claims:
            crash_point("after-claim")
        return claims

    async def _process_all(self, claims: list[Claim]) -> None:
        await asyncio.gather(*(self._process(claim) for claim in claims))

    async def _process(self, claim: Claim) -> None:
        try:
            with tracing.span(f"attempt {claim.attempt}", "consumer", [claim.traceparent]) as span:
                if span is not None:
                    span.note(valerix__order_id=str(claim.order_id), valerix__attempt=claim.attempt)
                    claim = msgspec.structs.replace(claim, traceparent=span.traceparent)
                context.traceparent.set(claim.traceparent)
                await self._runtime.processing.process(claim)
        except OUTAGES as error:
            log.warning("cannot settle, the lease will end", order_id=str(claim.order_id), error=repr(error))
        except Exception:
            log.exception("order not processed, its lease will end", order_id=str(claim.order_id))
        finally:
            self._in_hand -= 1

    def _track(self, work: Coroutine[None, None, None]) -> None:
        task = spawn(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)


def _by_delay(batch: list[WakeUp]) -> dict[float, list[WakeUp]]:
    """Group wake-ups that fall due within the same twentieth of a second."""
    groups: dict[float, list[WakeUp]] = {}
    for wake_up in batch:
        groups.setdefault(round(wake_up.delay * 20 + 0.5) / 20, []).append(wake_up)
    return groups


@contextlib.asynccontextmanager
async def working(settings: OrderSettings) -> AsyncIterator[Runtime]:
    """Run a worker; on leaving, take nothing new and finish what is in hand."""
    async with running(settings, "worker") as runtime:
        worker = Worker(settings, runtime)
        redis = open_redis(settings.redis_url, name=f"valerix-{settings.replica}-reader", socket_timeout=READ_LIMIT)
        try:
            async with beside(
                forever("sweep", worker.sweep, SWEEP_EVERY),
                forever("listen", lambda: worker.listen(redis, settings.replica), REJOIN_AFTER),
            ):
                yield runtime
        finally:
            await worker.finish()
            await redis.aclose()


def build(settings: OrderSettings) -> Edge:
    """The worker's health and metrics as an application; the work itself lives in its lifespan."""
    crash_points.arm(settings, CRASH_POINTS)

    @contextlib.asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        async with working(settings) as runtime:
            app.state.update({"own_probes": own_probes(runtime), "downstream_probes": downstream_probes(runtime)})
            yield

    state = {"access": Access(settings)}
    app = build_app("Valerix order worker", health_routes(identity(settings, "worker")), [lifespan], state)
    return Edge(app, allowed_hosts=settings.allowed_hosts)


if __name__ == "__main__":
    run("worker", OrderSettings, build)
