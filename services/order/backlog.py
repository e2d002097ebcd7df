"""How much waits, looked up a few times a second so that nobody has to count at each request."""

import structlog

from services.common.background import forever
from services.common.postgres import OUTAGES, Pool
from services.order import store
from services.order.metrics import DATES_CORRECTED, DEAD, QUEUE_DEPTH, QUEUE_OLDEST_AGE

log = structlog.get_logger()

LOOK_EVERY = 0.5  # seconds


class Backlog:
    """The last look at the queue, plus what this process queued since."""

    def __init__(self, pool: Pool, cap: int, by: str = "order") -> None:
        """`by` names this process in the history of orders whose times it corrects."""
        self.cap = cap
        self._by = by
        self.seen = store.Backlog(0, None, 0)
        self._queued = 0
        self._queued_when_seen = 0
        self._pool = pool

    @property
    def is_full(self) -> bool:
        return self.seen.depth + self._queued - self._queued_when_seen >= self.cap

    def note_queued(self) -> None:
        """Count an order that this process has just queued."""
        self._queued += 1

    async def look(self) -> store.Backlog:
        """Look now, and correct the times of misdated orders. Raises an outage when the database is away."""
        queued = self._queued
        async with self._pool.connection() as conn:
            seen = await store.backlog(conn)
            if seen.misdated:
                corrected = await store.correct_dates(conn, self._by)
                seen = await store.backlog(conn)
                DATES_CORRECTED.inc(len(corrected))
                log.warning("orders had times that cannot be right, which were corrected", orders=len(corrected))
        if queued >= self._queued_when_seen:  # a slow look does not put an older picture in place of a newer one
            self.seen, self._queued_when_seen = seen, queued
        QUEUE_DEPTH.set(seen.depth)
        QUEUE_OLDEST_AGE.set(seen.oldest_age or 0)
        DEAD.set(seen.dead)
        return seen

    async def keep_looking(self) -> None:
        await forever("look at the backlog", self._look_if_possible, LOOK_EVERY)

    async def _look_if_possible(self) -> None:
        try:
            await self.look()
        except OUTAGES as error:
            log.warning("backlog unknown", error=repr(error))
