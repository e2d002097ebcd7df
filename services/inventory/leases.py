"""Gremlins as one process sees them: it follows the live activation in Redis, rolls the dice, and tells what was hit.

A lease ends when Redis says so or, should Redis be away, at the deadline this process took down by its own
monotonic clock; it is never prolonged.
"""

import asyncio
import copy
import time
from uuid import UUID

import structlog

from services.common.background import forever
from services.common.dependencies import note_failure
from services.common.redis import FAILURES, LIMIT, Redis, UnexpectedFailure, drop_idle
from services.inventory import gremlins, registry
from services.inventory.gremlins import GREMLINS, NO_HITS, Activation, Gremlin, Hit, Script
from services.inventory.metrics import CHAOS_ENABLED, CHAOS_EVENTS
from services.inventory.registry import Counts, Report, Seen

log = structlog.get_logger()

LOOK_EVERY = 0.1  # seconds
FOLLOWED_WITHIN = 1.0  # seconds that setting or ending waits for the replicas
REMEMBERED = 20  # leases whose counts and hits are told again when Redis forgot them
HITS_KEPT = 10_000  # of one lease
TOLD_AT_ONCE = 2000  # hits: some milliseconds of work


class Lease:
    """One activation as followed here, with what was counted and hit here."""

    def __init__(self, activation: Activation, deadline: float, script: Script = NO_HITS) -> None:
        self.activation = activation
        self.deadline = deadline
        self.counts = Counts()
        self.hits: list[Hit] = []
        self._script = script
        self._told: Counts | None = None
        self._hits_told = 0
        self._ended = asyncio.Event()

    @property
    def is_live(self) -> bool:
        return not self._ended.is_set() and time.monotonic() < self.deadline

    def end(self) -> None:
        self._ended.set()

    def shorten(self, deadline: float) -> None:
        """Live on, but no longer than until `deadline`."""
        self.deadline = min(self.deadline, deadline)
        self._ended.clear()

    def roll(self, gremlin: Gremlin, order_id: UUID, attempt: int) -> bool:
        """Say whether `gremlin` hits this attempt, count it, and note whom it hit. An ended lease hits nothing."""
        if not self.activation.rate(gremlin) or not self.is_live:
            return False
        tally: registry.Tally = getattr(self.counts, gremlin)
        tally.rolls += 1
        if not gremlins.hits(self.activation, gremlin, order_id, attempt, self._script):
            return False
        tally.hits += 1
        if len(self.hits) < HITS_KEPT:
            self.hits.append(Hit(gremlin, order_id, attempt))
        CHAOS_EVENTS[gremlin].inc()
        return True

    async def linger(self) -> None:
        """Wait as the latency gremlin wants, or until the lease ends: then nothing holds answers back any more."""
        wait = min(self.activation.latency_ms / 1000, self.deadline - time.monotonic())
        try:
            async with asyncio.timeout(max(wait, 0)):
                await self._ended.wait()
        except TimeoutError:
            return

    @property
    def has_news(self) -> bool:
        return self._told != self.counts or self._hits_told < len(self.hits)

    def report(self, most: int) -> Report:
        """Return what is to be told: the counts, and at `most` so many of the hits not told yet."""
        first = self._hits_told
        return Report(self.activation, copy.deepcopy(self.counts), first, self.hits[first : first + most])

    def note_told(self, report: Report) -> None:
        self._told = report.counts
        self._hits_told = report.first + len(report.hits)

    def note_forgotten(self) -> None:
        self._told, self._hits_told = None, 0


class Leases:
    """Follows the gremlins on behalf of `replica`; `process` tells this process from the one before it."""

    def __init__(self, redis: Redis, replica: str, process: str) -> None:
        self._redis = redis
        self._replica = replica
        self._process = process
        self._leases: dict[str, Lease] = {}
        self._current: Lease | None = None
        self._one_at_a_time = asyncio.Lock()
        self._redis_answers = True

    def live(self) -> Lease | None:
        """Return the lease in force now, if any."""
        return self._current if self._current is not None and self._current.is_live else None

    async def follow(self) -> None:
        """Keep in step with Redis until cancelled; on the way out let go of held answers and tell what is untold."""
        try:
            await forever("follow the gremlins", self._step, LOOK_EVERY)
        finally:
            self._replace(None)
            await self._step()
            while self._redis_answers and self._has_news:
                await self._step()

    async def sync(self) -> None:
        """Look what is live, and tell what was counted and hit. Raises what Redis raises."""
        async with self._one_at_a_time:
            asked = time.monotonic()
            async with asyncio.timeout(LIMIT):
                seen = await registry.look(self._redis, self._replica, self._process, self._following)
            told = self._following
            await self._take_in(seen, asked)
            self._show()  # before anybody is told that we follow
            if seen.forgotten:
                self._note_forgotten()
            if self._has_news or seen.forgotten or told != self._following:
                async with asyncio.timeout(LIMIT):
                    known = await self._report()
                if not known and not seen.forgotten:  # it was flushed since we looked
                    self._note_forgotten()

    async def until_followed(self, activation_id: str | None) -> None:
        """Wait until every live replica follows `activation_id`, or none, but not for ever."""
        deadline = time.monotonic() + FOLLOWED_WITHIN
        while set((await registry.followed(self._redis)).values()) - {activation_id or ""}:
            if time.monotonic() > deadline:
                log.warning("not every replica followed in time", activation=activation_id)
                return
            await asyncio.sleep(LOOK_EVERY / 4)

    @property
    def _following(self) -> str | None:
        lease = self.live()
        return None if lease is None else lease.activation.id

    async def _step(self) -> None:
        try:
            await self.sync()
        except Exception as error:  # noqa: BLE001 - on the way out it must not fail
            if self._redis_answers:
                log.warning("gremlins cannot be followed, the last known lease runs out", error=repr(error))
            self._redis_answers = False
            expected = isinstance(error, FAILURES) and not isinstance(error, UnexpectedFailure)
            note_failure("redis", "gremlins", error, with_traceback=not expected)
            await drop_idle(self._redis)
        else:
            self._redis_answers = True
        self._show()

    async def _take_in(self, seen: Seen, asked: float) -> None:
        if seen.live is None:
            self._replace(None)
            return
        deadline = asked + seen.remaining
        lease = self._leases.get(seen.live.id)
        if lease is None:
            self._replace(None)  # it was replaced, even if the script of the new one does not come at once
            lease = self._leases[seen.live.id] = Lease(seen.live, deadline, await self._script(seen.live))
            log.warning("gremlins are live", activation=seen.live.id, seconds=round(seen.remaining, 1))
            for oldest in list(self._leases)[:-REMEMBERED]:
                del self._leases[oldest]
        else:
            lease.shorten(deadline)
        self._replace(lease)

    async def _script(self, activation: Activation) -> Script:
        if activation.scripted is None:
            return NO_HITS
        async with asyncio.timeout(LIMIT):
            script = await registry.script(self._redis, activation.id)
        if script is None:
            log.warning("the script of the gremlins is lost, they hit nothing", activation=activation.id)
        return script or NO_HITS

    def _replace(self, lease: Lease | None) -> None:
        if self._current is not None and self._current is not lease:
            self._current.end()
            log.info("gremlins ended", activation=self._current.activation.id)
        self._current = lease

    @property
    def _has_news(self) -> bool:
        return any(lease.has_news for lease in self._leases.values())

    async def _report(self) -> bool:
        """Tell what is news, the newest lease first, at most so many hits. Returns whether Redis still knew of us."""
        room = TOLD_AT_ONCE
        reports: list[Report] = []
        for lease in reversed(self._leases.values()):
            if lease.has_news:
                reports.append(lease.report(room))
                room -= len(reports[-1].hits)
        known = await registry.report(self._redis, self._replica, self._process, self._following, reports)
        for report in reports:
            self._leases[report.activation.id].note_told(report)
        return known

    def _note_forgotten(self) -> None:
        for lease in self._leases.values():
            lease.note_forgotten()

    def _show(self) -> None:
        lease = self.live()
        for gremlin in GREMLINS:
            CHAOS_ENABLED[gremlin].set(1 if lease is not None and lease.activation.rate(gremlin) else 0)
