"""The load of a drill, which runs in a background thread, and the clock that counts from its start."""

import time
from concurrent.futures import Future
from datetime import UTC, datetime

from valerix_cli.contexts.model import Context
from valerix_cli.drills.aborted import Aborted
from valerix_cli.drills.model import Drill
from valerix_cli.drills.validation import RECENT
from valerix_cli.journal import JournalWriter
from valerix_cli.load import LoadGenerator, LoadResult, Plan
from valerix_cli.load.model import CompletedOrder
from valerix_cli.load.thread import run_in_thread
from valerix_cli.waiting import wait_for

_POLL_INTERVAL = 0.05  # seconds


class BackgroundLoad:
    """A load that is started once. `orders` are the completed orders so far."""

    def __init__(self, drill: Drill, context: Context, key_prefix: str) -> None:
        self.orders: list[CompletedOrder] = []
        self._plan = _plan(drill, key_prefix)
        self._timeout = float(drill.load.timeout)
        self._urls = context.services["order"]
        self._headers = {"Authorization": f"Bearer {context.operator_token}"} if context.operator_token else {}
        self._generator: LoadGenerator | None = None
        self._result: Future[LoadResult] = Future()

    def start(self, journal: JournalWriter) -> None:
        self._generator = LoadGenerator(
            self._plan, self._urls, self._headers, journal=journal, on_completed=self.orders.append
        )
        self._result = run_in_thread(self._generator)

    def clock(self) -> float:
        """Return the seconds since the load began; negative before."""
        began = self._generator.began if self._generator else None
        return -1.0 if began is None else time.perf_counter() - began

    @property
    def began_at(self) -> datetime:
        return datetime.fromtimestamp(time.time() - self.clock(), UTC)

    def wait_until_begun(self) -> None:
        while self.clock() < 0 and not self.is_done:
            time.sleep(_POLL_INTERVAL)

    @property
    def is_done(self) -> bool:
        return self._result.done()

    @property
    def result(self) -> LoadResult | None:
        """The result; None while the load runs, and if it failed."""
        return self._result.result() if self._result.done() and not self._result.exception() else None

    def raise_if_failed(self) -> None:
        """Raise Aborted if the load ended with an error, such as a journal that cannot be written."""
        if self._result.done() and (error := self._result.exception()):
            raise Aborted(f"the load failed: {error}")

    def finish(self) -> None:
        """Start no further orders; see LoadGenerator.finish."""
        if self._generator:
            self._generator.finish()

    def stop(self) -> None:
        """Start no further orders and no retries."""
        if self._generator:
            self._generator.stop()

    def wait_until_done(self) -> None:
        """Wait for requests in flight, at most for their timeout and five seconds."""
        wait_for(lambda: self.is_done, self._timeout + 5)


def _plan(drill: Drill, key_prefix: str) -> Plan:
    """Return the drill's load, prolonged by the time that the recovery may take."""
    load = drill.load
    recovery = drill.recover.within + RECENT if drill.recover else 0.0
    return Plan(
        rate=load.rate,
        clients=load.clients,
        seconds=load.seconds + recovery,
        seed=drill.seed,
        key_prefix=key_prefix,
        items=load.items,
        mix=load.mix,
        quantity=load.quantity,
        repeats=load.repeats,
        retries=load.retry.times,
        timeout=load.timeout,
    )
