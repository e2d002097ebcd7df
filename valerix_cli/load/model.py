"""What a load is asked to be, and what came of it, as values."""

from collections.abc import Mapping

import msgspec

from valerix_cli.gates import DURATION, RATE, SHARE, Check
from valerix_cli.load.orders import Mix

METRICS: Mapping[str, str] = {
    "p50": DURATION,
    "p90": DURATION,
    "p95": DURATION,
    "p99": DURATION,
    "p999": DURATION,
    "mean": DURATION,
    "max": DURATION,
    "throughput": RATE,
    "error_rate": SHARE,
    "refused_rate": SHARE,
    "queued_rate": SHARE,
}
"""What a requirement may be on, and of which kind it is."""

PERCENTILES = {"p50": 50.0, "p90": 90.0, "p95": 95.0, "p99": 99.0, "p999": 99.9}
MEASURED_FROM = {"p50": 2, "p90": 10, "p95": 20, "p99": 100, "p999": 1000}
"""So many orders have one beyond the percentile; of fewer it says nothing."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A load: `rate` orders a second whatever becomes of them, or `clients` that each wait for their answer.

    `seconds` is for how long orders are sent, `timeout` the seconds an answer may take, `retries` how often an order
    is sent again, with its key, while that may help; `repeats` is the share, from 0 to 1, of keys sent before.
    """

    rate: float | None
    clients: int | None
    seconds: float
    seed: int
    key_prefix: str
    items: list[str]
    mix: Mix
    quantity: int = 1
    repeats: float = 0.0
    retries: int = 0
    timeout: float = 10.0
    connections: int = 256


class Latency(msgspec.Struct, frozen=True):
    """Seconds from when an order was due until its last answer; None without any."""

    p50: float | None
    p90: float | None
    p95: float | None
    p99: float | None
    p999: float | None
    mean: float | None
    max: float | None


class Seen(msgspec.Struct, frozen=True):
    """One order, answered for good or given up: `due` and `over` so many seconds after the load began.

    `said` is an order status, a problem or a reason for having no answer.
    """

    key: str
    due: float
    over: float
    said: str

    @property
    def latency(self) -> float:
        return self.over - self.due


class Snapshot(msgspec.Struct, frozen=True):
    """How a load goes: since its beginning, and `recent_throughput` orders a second since the last look."""

    elapsed: float
    orders: int
    recent_throughput: float
    in_flight: int
    outcomes: dict[str, int]
    latency: Latency


class LoadResult(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a load.

    `orders` were answered or given up; `outcomes` counts what they came to, by order status, problem or reason for
    having no answer, `answers` what each of `requests` came to. `throughput` is in orders answered a second,
    `error_rate` the share that got no order and no refusal of the domain. `behind` is by how many seconds the sender
    was late at worst, `cpu` the share of one core it used: near 1, or with requests late, it measures itself.
    """

    plan: Plan
    interrupted: bool
    seconds: float
    orders: int
    requests: int
    retried: int
    replayed: int
    outcomes: dict[str, int]
    answers: dict[str, int]
    throughput: float
    error_rate: float | None
    latency: Latency
    behind: float
    cpu: float
    is_bottleneck: bool
    checks: list[Check]
