"""Caches the queue's size and the database's identity, refreshed twice a second, so that requests do not query them."""

import psycopg
import structlog

from services.common.background import run_periodically
from services.common.postgres import OUTAGES, Pool
from services.order import usecases
from services.order.metrics import DATES_CORRECTED, DEAD, QUEUE_DEPTH, QUEUE_OLDEST_AGE
from services.order.origin import Origin
from services.order.unfinished import QueueStats

log = structlog.get_logger()

REFRESH_INTERVAL = 0.5  # seconds


class Backlog:
    """The queue's size at the last refresh, plus the orders this process has queued since."""

    def __init__(self, pool: Pool, cap: int, by: str = "order") -> None:
        """`by` is this replica's name, for the history of orders whose times it corrects."""
        self.cap = cap
        self.origin = Origin()
        self._identity_error_logged = False
        self._by = by
        self.stats = QueueStats(0, None, 0)
        self._queued = 0
        self._queued_at_refresh = 0
        self._pool = pool

    @property
    def is_full(self) -> bool:
        return self.stats.depth + self._queued - self._queued_at_refresh >= self.cap

    def increment(self) -> None:
        """Count an order that this process has just queued."""
        self._queued += 1

    async def refresh(self) -> QueueStats:
        """Read the queue's size, and correct the times of misdated orders. Raises one of `postgres.OUTAGES`."""
        queued = self._queued
        await self._learn_origin()
        stats, corrected = await usecases.measure_queue(self._pool, self._by)
        if corrected:
            DATES_CORRECTED.inc(corrected)
            log.warning("corrected orders with impossible times", orders=corrected)
        if queued >= self._queued_at_refresh:  # a slow refresh does not overwrite the result of a newer one
            self.stats, self._queued_at_refresh = stats, queued
        QUEUE_DEPTH.set(stats.depth)
        QUEUE_OLDEST_AGE.set(stats.oldest_age or 0)
        DEAD.set(stats.dead)
        return stats

    async def run(self) -> None:
        """Refresh until cancelled."""
        await run_periodically("refresh backlog", self._refresh_or_warn, REFRESH_INTERVAL)

    async def _refresh_or_warn(self) -> None:
        try:
            await self.refresh()
        except OUTAGES as error:
            self.origin.forget()
            log.warning("cannot refresh backlog", error=repr(error))

    async def _learn_origin(self) -> None:
        try:
            self.origin.learn(*await usecases.origin(self._pool))
        except psycopg.ProgrammingError as error:
            if not self._identity_error_logged:
                log.warning("response cache disabled, cannot read the database identity", error=repr(error))
            self._identity_error_logged = True
            self.origin.forget()
