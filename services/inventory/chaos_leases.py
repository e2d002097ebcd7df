"""Follows the live activation in Redis, decides which attempts it hits, and reports counts and hits.

A lease ends when Redis ends the activation or, if Redis is unavailable, at the deadline that this process computed
from its own monotonic clock. A lease is never extended.
"""

import asyncio
import copy
import time
from uuid import UUID

import structlog

from services.common.background import run_periodically
from services.common.dependencies import note_failure
from services.common.redis import FAILURES, TIMEOUT, Redis, UnexpectedFailure, drop_idle
from services.inventory import chaos_store, gremlins
from services.inventory.chaos_store import Counts, LiveState, Report
from services.inventory.gremlins import EMPTY_SCRIPT, GREMLINS, Activation, Gremlin, Hit, Script
from services.inventory.metrics import CHAOS_ENABLED, CHAOS_EVENTS

log = structlog.get_logger()

POLL_INTERVAL = 0.1  # seconds
FOLLOW_TIMEOUT = 1.0  # seconds that activating or deactivating waits for the replicas
MAX_LEASES = 20  # recent leases, which are reported again if Redis loses its data
MAX_HITS = 10_000  # kept per lease
MAX_HITS_PER_REPORT = 2000  # some milliseconds of work


class Lease:
    """One activation as this process follows it, with its own counts and hits."""

    def __init__(self, activation: Activation, deadline: float, script: Script = EMPTY_SCRIPT) -> None:
        self.activation = activation
        self.deadline = deadline
        self.counts = Counts()
        self.hits: list[Hit] = []
        self._script = script
        self._reported_counts: Counts | None = None
        self._hits_reported = 0
        self._ended = asyncio.Event()

    @property
    def is_live(self) -> bool:
        return not self._ended.is_set() and time.monotonic() < self.deadline

    def end(self) -> None:
        self._ended.set()

    def shorten(self, deadline: float) -> None:
        """Move the deadline forward, never back, and mark the lease as live."""
        self.deadline = min(self.deadline, deadline)
        self._ended.clear()

    def should_inject(self, gremlin: Gremlin, order_id: UUID, attempt: int) -> bool:
        """Decide whether `gremlin` hits this attempt; record the decision. An ended lease hits nothing."""
        if not self.activation.rate(gremlin) or not self.is_live:
            return False
        count: chaos_store.HitCount = getattr(self.counts, gremlin)
        count.rolls += 1
        if not gremlins.is_hit(self.activation, gremlin, order_id, attempt, self._script):
            return False
        count.hits += 1
        if len(self.hits) < MAX_HITS:
            self.hits.append(Hit(gremlin, order_id, attempt))
        CHAOS_EVENTS[gremlin].inc()
        return True

    async def delay(self) -> None:
        """Wait for the activation's latency, or until the lease ends."""
        wait = min(self.activation.latency_ms / 1000, self.deadline - time.monotonic())
        try:
            async with asyncio.timeout(max(wait, 0)):
                await self._ended.wait()
        except TimeoutError:
            return

    @property
    def has_unreported(self) -> bool:
        return self._reported_counts != self.counts or self._hits_reported < len(self.hits)

    def report(self, most: int) -> Report:
        """Return the counts and up to `most` unreported hits."""
        first = self._hits_reported
        return Report(self.activation, copy.deepcopy(self.counts), first, self.hits[first : first + most])

    def mark_reported(self, report: Report) -> None:
        self._reported_counts = report.counts
        self._hits_reported = report.first + len(report.hits)

    def mark_unreported(self) -> None:
        self._reported_counts, self._hits_reported = None, 0


class LeaseFollower:
    """Keeps this process's leases in step with Redis. `process` distinguishes restarts of `replica`."""

    def __init__(self, redis: Redis, replica: str, process: str) -> None:
        self._redis = redis
        self._replica = replica
        self._process = process
        self._leases: dict[str, Lease] = {}
        self._current: Lease | None = None
        self._sync_lock = asyncio.Lock()
        self._redis_available = True

    def live(self) -> Lease | None:
        """Return the lease in force now, if any."""
        return self._current if self._current is not None and self._current.is_live else None

    async def run(self) -> None:
        """Poll Redis until cancelled. On exit, release delayed responses and report what is unreported."""
        try:
            await run_periodically("follow the gremlins", self._sync_or_warn, POLL_INTERVAL)
        finally:
            self._replace(None)
            await self._sync_or_warn()
            while self._redis_available and self._has_unreported:
                await self._sync_or_warn()

    async def sync(self) -> None:
        """Read the live activation, and report counts and hits. Raises the errors of Redis."""
        async with self._sync_lock:
            started = time.monotonic()
            async with asyncio.timeout(TIMEOUT):
                state = await chaos_store.sync_replica(self._redis, self._replica, self._process, self._following)
            reported = self._following
            await self._apply(state, started)
            self._update_metrics()  # before Redis records that this replica follows
            if state.unknown_to_redis:
                self._mark_all_unreported()
            if self._has_unreported or state.unknown_to_redis or reported != self._following:
                async with asyncio.timeout(TIMEOUT):
                    known = await self._send_report()
                if not known and not state.unknown_to_redis:  # Redis was flushed in between
                    self._mark_all_unreported()

    async def wait_until_followed(self, activation_id: str | None) -> None:
        """Wait until every live replica follows `activation_id` (None: no activation), at most FOLLOW_TIMEOUT."""
        deadline = time.monotonic() + FOLLOW_TIMEOUT
        while set((await chaos_store.followers(self._redis)).values()) - {activation_id or ""}:
            if time.monotonic() > deadline:
                log.warning("replicas did not follow the activation in time", activation=activation_id)
                return
            await asyncio.sleep(POLL_INTERVAL / 4)

    @property
    def _following(self) -> str | None:
        lease = self.live()
        return None if lease is None else lease.activation.id

    async def _sync_or_warn(self) -> None:
        try:
            await self.sync()
        except Exception as error:  # noqa: BLE001 - shutdown must not fail
            if self._redis_available:
                log.warning("cannot sync gremlins with redis, keeping the lease", error=repr(error))
            self._redis_available = False
            expected = isinstance(error, FAILURES) and not isinstance(error, UnexpectedFailure)
            note_failure("redis", "gremlins", error, with_traceback=not expected)
            await drop_idle(self._redis)
        else:
            self._redis_available = True
        self._update_metrics()

    async def _apply(self, state: LiveState, started: float) -> None:
        if state.live is None:
            self._replace(None)
            return
        deadline = started + state.remaining
        lease = self._leases.get(state.live.id)
        if lease is None:
            self._replace(None)  # ends the old lease even if loading the new script fails
            lease = self._leases[state.live.id] = Lease(state.live, deadline, await self._load_script(state.live))
            log.warning("gremlins are live", activation=state.live.id, seconds=round(state.remaining, 1))
            for oldest in list(self._leases)[:-MAX_LEASES]:
                del self._leases[oldest]
        else:
            lease.shorten(deadline)
        self._replace(lease)

    async def _load_script(self, activation: Activation) -> Script:
        if activation.script_length is None:
            return EMPTY_SCRIPT
        async with asyncio.timeout(TIMEOUT):
            script = await chaos_store.read_script(self._redis, activation.id)
        if script is None:
            log.warning("activation script lost, no attempt will be hit", activation=activation.id)
        return script or EMPTY_SCRIPT

    def _replace(self, lease: Lease | None) -> None:
        if self._current is not None and self._current is not lease:
            self._current.end()
            log.info("gremlins ended", activation=self._current.activation.id)
        self._current = lease

    @property
    def _has_unreported(self) -> bool:
        return any(lease.has_unreported for lease in self._leases.values())

    async def _send_report(self) -> bool:
        """Report unreported leases, newest first, up to MAX_HITS_PER_REPORT hits.

        Returns whether Redis still had the previous report of this process.
        """
        remaining_hits = MAX_HITS_PER_REPORT
        reports: list[Report] = []
        for lease in reversed(self._leases.values()):
            if lease.has_unreported:
                reports.append(lease.report(remaining_hits))
                remaining_hits -= len(reports[-1].hits)
        known = await chaos_store.write_report(self._redis, self._replica, self._process, self._following, reports)
        for report in reports:
            self._leases[report.activation.id].mark_reported(report)
        return known

    def _mark_all_unreported(self) -> None:
        for lease in self._leases.values():
            lease.mark_unreported()

    def _update_metrics(self) -> None:
        lease = self.live()
        for gremlin in GREMLINS:
            CHAOS_ENABLED[gremlin].set(1 if lease is not None and lease.activation.rate(gremlin) else 0)
