"""Sends orders at a rate or by a number of clients, and counts the outcomes."""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random

from valerix_cli.clients import retry
from valerix_cli.clients.order_models import OrderRequest
from valerix_cli.gates import Gate, evaluate
from valerix_cli.journal import JournalWriter
from valerix_cli.load.batched_journal import BatchedJournal
from valerix_cli.load.histogram import Histogram
from valerix_cli.load.http_client import HttpClient, NoResponse, Response
from valerix_cli.load.metrics import ACCEPTED, REFUSED, load_metrics, order_count
from valerix_cli.load.model import PERCENTILES, CompletedOrder, Latency, LoadProgress, LoadResult, Plan
from valerix_cli.load.workload import generate_orders

_MAX_CPU = 0.9  # of a core: above this the generator is the bottleneck
_MAX_LAG = 0.05  # seconds behind the plan at the 99th percentile: above this as well


class LoadGenerator:
    """A load that runs once. `stop` and `finish` may be called from any thread.

    Times are read from the performance counter, because uvloop's clock has a resolution of a millisecond.
    """

    def __init__(
        self,
        plan: Plan,
        urls: Sequence[str],
        headers: Mapping[str, str],
        *,
        gates: Sequence[Gate] = (),
        journal: JournalWriter | None = None,
        on_completed: Callable[[CompletedOrder], None] | None = None,
    ) -> None:
        """`on_completed` is called for each completed order, in the thread that runs the load."""
        self.plan = plan
        self._on_completed = on_completed
        self._gates = gates
        self._urls, self._headers = urls, headers
        self._journal = BatchedJournal(journal) if journal else None
        self._random = Random()  # noqa: S311 - jitter only # nosec B311
        self._latency, self._lag = Histogram(), Histogram()
        self._outcomes: Counter[str] = Counter()
        self._responses: Counter[str] = Counter()
        self._retried = self._replayed = self._in_flight = 0
        self._began = self._ended = 0.0
        self._last_progress = (0.0, 0)
        self.is_stopped = False
        self._last_due = math.inf  # the latest due time of an order that is still started, by the performance counter

    def stop(self) -> None:
        """Send no further orders and no retries. Requests in flight are still awaited."""
        self.is_stopped = True

    def finish(self) -> None:
        """Start no order that is due later than now. Earlier ones are started and retried as planned.

        Orders that a busy machine starts late are still sent, so a plan determines the number of orders.
        """
        self._last_due = min(self._last_due, time.perf_counter())

    @property
    def began(self) -> float | None:
        """The start, by the performance counter; None before."""
        return self._began or None

    async def run(self) -> LoadResult:
        """Send all orders, await the last responses and return the result.

        Raises OSError if the journal cannot be written.
        """
        plan = self.plan
        connections = plan.clients or plan.connections
        client = HttpClient(self._urls, self._headers, timeout=plan.timeout, connections=connections)
        orders = generate_orders(
            plan.seed, plan.items, plan.mix, quantity=plan.quantity, repeats=plan.repeats, prefix=plan.key_prefix
        )
        cpu = time.process_time()
        self._began = time.perf_counter()
        try:
            await (self._run_at_rate(plan.rate, client, orders) if plan.rate else self._run_clients(client, orders))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from failures  # all have the same cause
        finally:
            self._ended = time.perf_counter()
            client.close()
        return self._result(time.process_time() - cpu)

    def progress(self) -> LoadProgress:
        """Return the progress so far. The recent throughput counts from the previous call."""
        elapsed = (self._ended or time.perf_counter()) - self._began if self._began else 0.0
        last_elapsed, last_orders = self._last_progress
        orders = self._latency.count
        self._last_progress = (elapsed, orders)
        recent = (orders - last_orders) / (elapsed - last_elapsed) if elapsed > last_elapsed else 0.0
        outcomes = dict(self._outcomes.most_common())
        return LoadProgress(elapsed, orders, recent, self._in_flight, outcomes, self._latency_summary())

    async def _run_at_rate(self, rate: float, client: HttpClient, orders: Iterator[OrderRequest]) -> None:
        """Start each order when it is due, whether or not earlier ones have completed."""
        async with asyncio.TaskGroup() as tasks:
            for number in range(order_count(rate, self.plan.seconds)):
                due = self._began + number / rate
                if (wait := due - time.perf_counter()) > 0:
                    await asyncio.sleep(wait)
                elif number % 64 == 0:
                    await asyncio.sleep(0)  # behind the plan: let responses be processed
                if self.is_stopped or due > self._last_due:
                    return
                self._lag.record(max(0.0, time.perf_counter() - due))
                tasks.create_task(self._place_order(client, next(orders), due))
            await asyncio.sleep(max(0.0, self._began + self.plan.seconds - time.perf_counter()))

    async def _run_clients(self, client: HttpClient, orders: Iterator[OrderRequest]) -> None:
        """Run clients that each send the next order when the previous one has completed."""
        until = self._began + self.plan.seconds

        async def run_client() -> None:
            due = time.perf_counter()
            while not self.is_stopped and due <= self._last_due:
                await self._place_order(client, next(orders), due)
                if (due := time.perf_counter()) >= until:
                    return

        async with asyncio.TaskGroup() as clients:
            for _ in range(self.plan.clients or 1):
                clients.create_task(run_client())

    async def _place_order(self, client: HttpClient, order: OrderRequest, due: float) -> None:
        """Send one order until its response is final or its retries are used up, and count the outcome."""
        self._in_flight += 1
        try:
            response = await self._send(client, order)
            for attempt in range(1, self.plan.retries + 1):
                if not _is_retryable(response) or self.is_stopped:
                    break
                self._retried += 1
                retry_after = response.retry_after if isinstance(response, Response) else None
                await asyncio.sleep(retry.delay(attempt, retry_after, self._random))
                response = await self._send(client, order)
        finally:
            self._in_flight -= 1
        completed = time.perf_counter()
        outcome = response.outcome if isinstance(response, Response) else str(response)
        self._latency.record(completed - due)
        self._outcomes[outcome] += 1
        if self._on_completed is not None:
            self._on_completed(CompletedOrder(order.key, due - self._began, completed - self._began, outcome))

    async def _send(self, client: HttpClient, order: OrderRequest) -> Response | NoResponse:
        if self._journal is not None:
            await self._journal.record_request(order)
        try:
            response = await client.post(order)
        except NoResponse as reason:
            self._responses[str(reason)] += 1
            if self._journal is not None:
                await self._journal.record_no_response(order, str(reason))
            return reason
        self._responses[f"{response.http_status} {response.outcome}"] += 1
        self._replayed += response.replayed
        if self._journal is not None:
            await self._journal.record_response(order, response)
        return response

    def _latency_summary(self) -> Latency:
        latency = self._latency
        values = {name: latency.at(percent) for name, percent in PERCENTILES.items()}
        values |= {"mean": latency.mean, "max": latency.longest if latency.count else None}
        return Latency(**{name: None if value is None else round(value, 6) for name, value in values.items()})

    def _result(self, cpu: float) -> LoadResult:
        orders = self._latency.count
        seconds = max(self._ended - self._began, 1e-9)
        good = sum(count for outcome, count in self._outcomes.items() if outcome in ACCEPTED | REFUSED)
        measured = load_metrics(self._latency, self._outcomes, orders / seconds)
        lag, used = self._lag.at(99) or 0.0, cpu / seconds
        return LoadResult(
            plan=self.plan,
            interrupted=self.is_stopped,
            seconds=round(seconds, 3),
            orders=orders,
            requests=self._responses.total(),
            retried=self._retried,
            replayed=self._replayed,
            outcomes=dict(self._outcomes.most_common()),
            answers=dict(self._responses.most_common()),
            throughput=round(orders / seconds, 1),
            error_rate=(orders - good) / orders if orders else None,
            latency=self._latency_summary(),
            behind=round(self._lag.longest, 6),
            cpu=round(used, 3),
            is_bottleneck=used > _MAX_CPU or lag > _MAX_LAG,
            checks=evaluate(self._gates, measured),
        )


def _is_retryable(response: Response | NoResponse) -> bool:
    """Return True if the same request may get another response."""
    if isinstance(response, NoResponse):
        return True
    return retry.is_retryable(response.http_status, response.problem)
