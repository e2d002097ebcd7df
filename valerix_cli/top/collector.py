"""Polls all parts of the platform concurrently. Failures are values in the snapshot, and never raised."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, TypeVar

from valerix_cli.clients.http import Replicas
from valerix_cli.contexts.model import Context
from valerix_cli.errors import CliError
from valerix_cli.local.stack import state_dir
from valerix_cli.local.status import read_status
from valerix_cli.top import processes
from valerix_cli.top.clients import PlatformClients, reach
from valerix_cli.top.feed import PAGE, Feed, fold
from valerix_cli.top.model import Reading, Services, Snapshot
from valerix_cli.top.rates import Meter, Scrape, Traffic, scrape

T = TypeVar("T")

LIMIT = 2.0
"""The timeout of a request in seconds."""


class Collector:
    """`find` returns the current context, or raises CliError if there is none; then the previous one is polled."""

    def __init__(self, find: Callable[[], Context]) -> None:
        self._find = find
        self._reach = reach(find(), LIMIT)
        self._meter = Meter()
        self._feed = Feed()
        self._kept: dict[str, tuple[Any, float]] = {}
        self._pool = ThreadPoolExecutor(thread_name_prefix="top")

    def collect(self) -> Snapshot:
        """Return a snapshot. Takes as long as the slowest response, a little over two seconds at most."""
        now = time.monotonic()
        with suppress(CliError):
            self._follow(self._find())
        questions: dict[str, Callable[[PlatformClients], Any]] = {
            "services": self._services,
            "traffic": self._traffic,
            "feed": self._orders,
            "breaker": lambda to: to.orders.breaker(),
            "queue": lambda to: to.orders.queue(),
            "chaos": lambda to: to.inventory.chaos(),
            "stock": lambda to: to.inventory.items(),
        }
        answers = {name: self._pool.submit(ask, self._reach) for name, ask in questions.items()}
        readings: dict[str, Any] = {name: self._reading(name, answer, now) for name, answer in answers.items()}
        return Snapshot(datetime.now(UTC), **readings)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _follow(self, context: Context) -> None:
        if context != self._reach.context:
            self._reach = reach(context, LIMIT)

    def _reading(self, name: str, answer: Future[T], now: float) -> Reading[T]:
        try:
            value = answer.result()
        except CliError as error:
            return self._last(name, now, error.what)
        except Exception as error:  # noqa: BLE001 - one malformed response must not stop the screen
            return self._last(name, now, f"{type(error).__name__}: {error}")
        if value is None:  # no data yet
            return Reading()
        self._kept[name] = (value, now)
        return Reading(value)

    def _last(self, name: str, now: float, fault: str) -> Reading[Any]:
        value, at = self._kept.get(name, (None, now))
        return Reading(value, now - at, fault)

    @staticmethod
    def _services(to: PlatformClients) -> Services:
        if to.context.is_local:
            return processes.of_this_machine(read_status(state_dir()))
        return processes.of_addresses(to.all_replicas)

    def _traffic(self, to: PlatformClients) -> Traffic | None:
        with ThreadPoolExecutor(max_workers=max(len(to.order_replicas), 1)) as pool:
            pages = dict(zip(to.order_replicas, pool.map(_scrape, to.order_replicas.values()), strict=True))
        scrapes = {url: page for url, page in pages.items() if isinstance(page, Scrape)}
        fault = next((page for page in pages.values() if isinstance(page, CliError)), None)
        if not scrapes and fault is not None:
            raise fault
        return self._meter.read(scrapes)

    def _orders(self, to: PlatformClients) -> Feed:
        self._feed = fold(self._feed, to.orders.newest(limit=PAGE))
        return self._feed


def _scrape(replica: Replicas) -> Scrape | CliError:
    """Return the counters of a replica, or why they are unavailable."""
    try:
        answer = replica.send("GET", "/metrics")
    except CliError as error:
        return error
    return scrape(answer.text, time.monotonic())
