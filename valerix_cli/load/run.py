"""Sending orders at a rate or by so many clients, and counting what comes back."""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from random import Random

from valerix_cli.clients.sends import Wanted
from valerix_cli.gates import Gate, Measured, judge
from valerix_cli.journal import JournalWriter
from valerix_cli.load.diary import Diary
from valerix_cli.load.histogram import Histogram
from valerix_cli.load.model import MEASURED_FROM, PERCENTILES, Latency, LoadResult, Plan, Seen, Snapshot
from valerix_cli.load.orders import sequence
from valerix_cli.load.wire import Answer, Client, Unanswered

ACCEPTED = frozenset({"confirmed", "queued", "pending", "failed", "dead"})
REFUSED = frozenset({"insufficient-stock", "unknown-item", "idempotency-key-reused"})
_WORTH_A_RETRY = frozenset({"request-in-flight", "rate-limited", "queue-full", "database-unavailable"})
_SERVER_ERROR = 500
_LONGEST_PAUSE = 5.0  # seconds
_BUSY = 0.9  # of a core: from here on the sender is what is measured
_LATE = 0.05  # seconds behind its own plan, at the 99th percentile: the same


class Load:
    """A load that runs once. `stop` ends it early, from any thread.

    Times are read from the performance counter: uvloop's own clock goes by whole milliseconds.
    """

    def __init__(
        self,
        plan: Plan,
        urls: Sequence[str],
        headers: Mapping[str, str],
        *,
        gates: Sequence[Gate] = (),
        journal: JournalWriter | None = None,
        watch: Callable[[Seen], None] | None = None,
    ) -> None:
        """`watch` hears of each order when it is over, from the thread that runs the load."""
        self.plan = plan
        self._watch = watch
        self._gates = gates
        self._urls, self._headers = urls, headers
        self._diary = Diary(journal) if journal else None
        self._dice = Random()  # noqa: S311 - spreads retries, keeps no secret # nosec B311
        self._latency, self._behind = Histogram(), Histogram()
        self._outcomes: Counter[str] = Counter()
        self._answers: Counter[str] = Counter()
        self._retried = self._replayed = self._in_flight = 0
        self._began = self._ended = 0.0
        self._last_look = (0.0, 0)
        self.is_stopped = False
        self._last_due = math.inf  # of an order that is begun, by the performance counter

    def stop(self) -> None:
        """Send no more, not again either; what is under way is still waited for."""
        self.is_stopped = True

    def finish(self) -> None:
        """Begin no order that is due later than now, and see the others through, as often as they would be sent again.

        What a busy machine has begun late is due all the same: a plan of so many orders sends so many.
        """
        self._last_due = min(self._last_due, time.perf_counter())

    @property
    def began(self) -> float | None:
        """When it began, by the performance counter; None before."""
        return self._began or None

    async def run(self) -> LoadResult:
        """Send everything, wait for the last answers, and add up. Raises OSError when the journal cannot be written."""
        plan = self.plan
        client = Client(self._urls, self._headers, timeout=plan.timeout, connections=plan.clients or plan.connections)
        orders = sequence(
            plan.seed, plan.items, plan.mix, quantity=plan.quantity, repeats=plan.repeats, prefix=plan.key_prefix
        )
        cpu = time.process_time()
        self._began = time.perf_counter()
        try:
            await (self._by_rate(plan.rate, client, orders) if plan.rate else self._by_clients(client, orders))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from failures  # each has the same cause, so the first will do
        finally:
            self._ended = time.perf_counter()
            client.close()
        return self._result(time.process_time() - cpu)

    def look(self) -> Snapshot:
        """How it goes. Each look counts the recent throughput from the one before."""
        elapsed = (self._ended or time.perf_counter()) - self._began if self._began else 0.0
        before, orders_before = self._last_look
        orders = self._latency.count
        self._last_look = (elapsed, orders)
        recent = (orders - orders_before) / (elapsed - before) if elapsed > before else 0.0
        outcomes = dict(self._outcomes.most_common())
        return Snapshot(elapsed, orders, recent, self._in_flight, outcomes, self._percentiles())

    async def _by_rate(self, rate: float, client: Client, orders: Iterator[Wanted]) -> None:
        """Each order at its time, whether the ones before are answered or not."""
        async with asyncio.TaskGroup() as under_way:
            for number in range(how_many(rate, self.plan.seconds)):
                due = self._began + number / rate
                if (wait := due - time.perf_counter()) > 0:
                    await asyncio.sleep(wait)
                elif number % 64 == 0:
                    await asyncio.sleep(0)  # behind its plan: whoever has an answer gets a turn all the same
                if self.is_stopped or due > self._last_due:
                    return
                self._behind.record(max(0.0, time.perf_counter() - due))
                under_way.create_task(self._order(client, next(orders), due))
            await asyncio.sleep(max(0.0, self._began + self.plan.seconds - time.perf_counter()))

    async def _by_clients(self, client: Client, orders: Iterator[Wanted]) -> None:
        """So many clients, each sending its next order when the last one is answered, the first at once."""
        until = self._began + self.plan.seconds

        async def one_after_the_other() -> None:
            due = time.perf_counter()
            while not self.is_stopped and due <= self._last_due:
                await self._order(client, next(orders), due)
                if (due := time.perf_counter()) >= until:
                    return

        async with asyncio.TaskGroup() as clients:
            for _ in range(self.plan.clients or 1):
                clients.create_task(one_after_the_other())

    async def _order(self, client: Client, wanted: Wanted, due: float) -> None:
        """Send one order until it is answered for good or its tries are used up, and count it."""
        self._in_flight += 1
        try:
            said = await self._send(client, wanted)
            for attempt in range(1, self.plan.retries + 1):
                if not _may_change(said) or self.is_stopped:
                    break
                self._retried += 1
                await asyncio.sleep(self._pause(said, attempt))
                said = await self._send(client, wanted)
        finally:
            self._in_flight -= 1
        over, word = time.perf_counter(), said.said if isinstance(said, Answer) else str(said)
        self._latency.record(over - due)
        self._outcomes[word] += 1
        if self._watch is not None:
            self._watch(Seen(wanted.key, due - self._began, over - self._began, word))

    async def _send(self, client: Client, wanted: Wanted) -> Answer | Unanswered:
        if self._diary is not None:
            await self._diary.sent(wanted)
        try:
            answer = await client.post(wanted)
        except Unanswered as why:
            self._answers[str(why)] += 1
            if self._diary is not None:
                await self._diary.unknown(wanted, str(why))
            return why
        self._answers[f"{answer.http_status} {answer.said}"] += 1
        self._replayed += answer.replayed
        if self._diary is not None:
            await self._diary.answered(wanted, answer)
        return answer

    def _pause(self, said: Answer | Unanswered, attempt: int) -> float:
        """What the answer asks for, else exponential back-off with full jitter, in seconds."""
        if isinstance(said, Answer) and said.retry_after is not None:
            return said.retry_after
        return self._dice.uniform(0, min(_LONGEST_PAUSE, 0.2 * 2**attempt))

    def _percentiles(self) -> Latency:
        seen = self._latency
        at = {name: seen.at(percent) for name, percent in PERCENTILES.items()}
        at |= {"mean": seen.mean, "max": seen.longest if seen.count else None}
        return Latency(**{name: None if value is None else round(value, 6) for name, value in at.items()})

    def _result(self, cpu: float) -> LoadResult:
        orders = self._latency.count
        took = max(self._ended - self._began, 1e-9)
        good = sum(count for said, count in self._outcomes.items() if said in ACCEPTED | REFUSED)
        measured = measure(self._latency, self._outcomes, orders / took)
        behind, used = self._behind.at(99) or 0.0, cpu / took
        return LoadResult(
            plan=self.plan,
            interrupted=self.is_stopped,
            seconds=round(took, 3),
            orders=orders,
            requests=self._answers.total(),
            retried=self._retried,
            replayed=self._replayed,
            outcomes=dict(self._outcomes.most_common()),
            answers=dict(self._answers.most_common()),
            throughput=round(orders / took, 1),
            error_rate=(orders - good) / orders if orders else None,
            latency=self._percentiles(),
            behind=round(self._behind.longest, 6),
            cpu=round(used, 3),
            is_bottleneck=used > _BUSY or behind > _LATE,
            checks=judge(self._gates, measured),
        )


def how_many(rate: float, seconds: float) -> int:
    """How many orders are due before the end of a load, the first of them at its beginning."""
    return max(1, math.ceil(round(rate * seconds, 6)))


def _may_change(said: Answer | Unanswered) -> bool:
    """Whether the same request may well be answered differently in a moment."""
    if isinstance(said, Unanswered):
        return True
    return said.http_status >= _SERVER_ERROR or said.problem in _WORTH_A_RETRY


def measure(latency: Histogram, outcomes: Mapping[str, int], throughput: float) -> dict[str, Measured | None]:
    """What requirements are held against; None where too few orders were answered to say."""
    orders = latency.count

    def share(of: frozenset[str]) -> Fraction | None:
        return Fraction(sum(outcomes.get(said, 0) for said in of), orders) if orders else None

    good = share(ACCEPTED | REFUSED)
    return {
        **{
            name: latency.at(percent) if orders >= MEASURED_FROM[name] else None
            for name, percent in PERCENTILES.items()
        },
        "mean": latency.mean,
        "max": latency.longest if orders else None,
        "throughput": throughput if orders else None,
        "error_rate": None if good is None else 1 - good,
        "refused_rate": share(REFUSED),
        "queued_rate": share(frozenset({"queued"})),
    }
