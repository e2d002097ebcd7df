"""State of one benchmark run: starts loads, prints their results and keeps them."""

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypedDict, Unpack

import psycopg

from tests.benchmarks import loads, memory
from tests.benchmarks.closed import Closed
from tests.benchmarks.drivers import Driver
from tests.benchmarks.errors import Broken
from tests.benchmarks.live import Live
from tests.benchmarks.results import Bound, Capacity, Drain, Ordeal, Sample, Soak
from valerix_cli.local.stack import ORDER_DB

_WARM = 2.0  # seconds of load before a measurement
_LOOKS, _LOOK_EVERY = 300, 0.1  # polls, and seconds between them


class More(TypedDict, total=False):
    """Optional parameters of a closed-loop load."""

    seconds: float
    prefix: str
    items: int
    known: int


@dataclass
class Bench:
    """Loads and results of a run. `seconds` is the duration of each case; results are kept by case, one per round."""

    driver: Driver
    seconds: float
    seed: int
    say: Callable[[str], None]
    bounds: list[Bound] = field(default_factory=list)
    cases: dict[str, list[Sample]] = field(default_factory=dict)
    ordeals: dict[str, list[Ordeal]] = field(default_factory=dict)
    drains: list[Drain] = field(default_factory=list)
    soak: Soak | None = None
    peaks: dict[str, float] = field(default_factory=dict)
    audits: dict[str, str] = field(default_factory=dict)
    capacity: Capacity | None = None
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    def prefix(self) -> str:
        """Return a key prefix that no earlier load has used."""
        return f"bench-{next(self._numbers)}-"

    def clients(self, shop: Live, case: str, clients: int, **more: Unpack[More]) -> Sample:
        """Run a closed-loop load, of the hot item by default."""
        usual: More = {"seconds": self.seconds, "prefix": self.prefix()}
        load = Closed(clients=clients, seed=self.seed, **(usual | more))
        settle(shop)
        return self.keep(shop, case, self.driver.send(shop, load))

    def rate(self, shop: Live, case: str, rate: float) -> Sample:
        """Run an open-loop load. It takes twice as long, because its percentiles need more samples."""
        seconds = self.seconds * 2
        settle(shop)
        return self.keep(shop, case, loads.at_rate(shop, rate, seconds=seconds, prefix=self.prefix(), seed=self.seed))

    def keep(self, shop: Live, case: str, sample: Sample) -> Sample:
        self.cases.setdefault(case, []).append(sample)
        self.note_memory(shop)
        answers = ", ".join(f"{count} x {status}" for status, count in sample.statuses.items())
        times = f"p50 {sample.p50:g}, p95 {sample.p95:g}, p99 {sample.p99:g} ms"
        self.say(f"{case}: {sample.per_second:,.0f}/s, {times}; {answers}{' (load-limited)' if sample.limited else ''}")
        return sample

    def note_memory(self, shop: Live) -> None:
        for name, megabytes in memory.of(shop).items():
            self.peaks[name] = max(self.peaks.get(name, 0.0), megabytes)

    def warm_up(self, shop: Live) -> None:
        """Warm up code and connections, and complete the pending checkpoint."""
        self.driver.send(shop, Closed(clients=64, seconds=_WARM, prefix=self.prefix(), seed=self.seed))
        self.driver.send(shop, Closed(clients=64, seconds=_WARM, prefix=self.prefix(), seed=self.seed, items=1000))
        checkpoint(shop)

    def audit(self, shop: Live, name: str) -> None:
        """Run `valerix audit` on the platform and keep its verdict."""
        found = shop.valerix("audit")
        orders = sum(found["compared"]["orders"].values())
        self.audits[name] = f"{found['verdict']}, {orders:,} orders compared"
        self.say(f"audit of {name}: {self.audits[name]}")


def settle(shop: Live) -> None:
    """Wait until no order is pending: unfinished orders of the last load would count towards the next."""
    with psycopg.connect(shop.url(ORDER_DB), autocommit=True) as conn:
        for _ in range(_LOOKS):
            if conn.execute("SELECT FROM orders WHERE status = 'pending' LIMIT 1").fetchone() is None:
                return
            time.sleep(_LOOK_EVERY)
    raise Broken("The orders of the last load do not end.", "some are still pending", "valerix queue status")


def checkpoint(shop: Live) -> None:
    """Run a checkpoint, so that earlier writes do not affect the next measurement."""
    with psycopg.connect(shop.url("postgres"), autocommit=True) as conn:
        conn.execute("CHECKPOINT")
