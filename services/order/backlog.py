"""How much waits, looked up a few times a second so that nobody has to count at each request."""

import structlog

from services.common.background import forever
from services.common.postgres import OUTAGES, Pool
from services.order import store
from services.order.metrics import DEAD, QUEUE_DEPTH, QUEUE_OLDEST_AGE

log = structlog.get_logger()

LOOK_EVERY = 0.5  # seconds


class Backlog:
    """The last look at the queue, plus what this process queued since."""

    def __init__(self, pool: Pool, cap: int) -> None:
        self.cap = cap
        self.seen = store.Backlog(0, None, 0)
        self._queued_since = 0
        self._pool = pool

    @property
    def is_full(self) -> bool:
        return self.seen.depth + self._queued_since >= self.cap

    def note_queued(self) -> None:
        """Count an order that this process has just queued."""
        self._queued_since += 1

    async def look(self) -> store.Backlog:
        """Look now. Raises an outage when the database is away."""
        self._queued_since = 0
        async with self._pool.connection() as conn:
            self.seen = await store.backlog(conn)
        QUEUE_DEPTH.set(self.seen.depth)
        QUEUE_OLDEST_AGE.set(self.seen.oldest_age or 0)
        DEAD.set(self.seen.dead)
        return self.seen

    async def keep_looking(self) -> None:
        await forever("look at the backlog", self._look_if_possible, LOOK_EVERY)

    async def _look_if_possible(self) -> None:
        try:
            await self.look()
        except OUTAGES as error:
            log.warning("backlog unknown", error=repr(error))
