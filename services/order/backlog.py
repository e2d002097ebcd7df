"""How much waits, and which database it waits in: looked up a few times a second, so that no request has to."""

import psycopg
import structlog

from services.common.background import forever
from services.common.postgres import OUTAGES, Connection, Pool
from services.order import store, unfinished
from services.order.metrics import DATES_CORRECTED, DEAD, QUEUE_DEPTH, QUEUE_OLDEST_AGE
from services.order.origin import Origin

log = structlog.get_logger()

LOOK_EVERY = 0.5  # seconds


class Backlog:
    """The last look at the queue, plus what this process queued since."""

    def __init__(self, pool: Pool, cap: int, by: str = "order") -> None:
        """`by` names this process in the history of orders whose times it corrects."""
        self.cap = cap
        self.origin = Origin()
        self._is_anonymous = False
        self._by = by
        self.seen = unfinished.Backlog(0, None, 0)
        self._queued = 0
        self._queued_when_seen = 0
        self._pool = pool

    @property
    def is_full(self) -> bool:
        return self.seen.depth + self._queued - self._queued_when_seen >= self.cap

    def note_queued(self) -> None:
        """Count an order that this process has just queued."""
        self._queued += 1

    async def look(self) -> unfinished.Backlog:
        """Look now, and correct the times of misdated orders. Raises an outage when the database is away."""
        queued = self._queued
        async with self._pool.connection() as conn:
            await self._learn_origin(conn)
            seen = await unfinished.backlog(conn)
            if seen.misdated:
                corrected = await unfinished.correct_dates(conn, self._by)
                seen = await unfinished.backlog(conn)
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
            self.origin.forget()
            log.warning("backlog unknown", error=repr(error))

    async def _learn_origin(self, conn: Connection) -> None:
        try:
            self.origin.learn(*await store.origin(conn))
        except psycopg.ProgrammingError as error:
            if not self._is_anonymous:
                log.warning("answers are not cached, the database cannot be told from others", error=repr(error))
            self._is_anonymous = True
            self.origin.forget()
