"""The plan of a load and its result, as values."""

from collections.abc import Mapping

import msgspec

from valerix_cli.gates import DURATION, RATE, SHARE, Check
from valerix_cli.load.workload import Mix

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
"""The metrics that a gate may name, each with its kind."""

PERCENTILES = {"p50": 50.0, "p90": 90.0, "p95": 95.0, "p99": 99.0, "p999": 99.9}
MIN_ORDERS = {"p50": 2, "p90": 10, "p95": 20, "p99": 100, "p999": 1000}
"""The smallest number of orders of which one is beyond the percentile; with fewer it is not measured."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A load: `rate` orders per second (open loop), or `clients` that each wait for their response (closed loop).

    Orders are sent for `seconds`; each request times out after `timeout` seconds. A retryable request is sent again,
    with the same key, up to `retries` times. `repeats` is the share, from 0 to 1, of orders that repeat a key.
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
    """Seconds from the time an order was due until its last response; None without orders."""

    p50: float | None
    p90: float | None
    p95: float | None
    p99: float | None
    p999: float | None
    mean: float | None
    max: float | None


class CompletedOrder(msgspec.Struct, frozen=True):
    """One order after its last response; `due` and `completed` are in seconds since the load began.

    `outcome` is an order status, a problem type or the reason for having no response.
    """

    key: str
    due: float
    completed: float
    outcome: str

    @property
    def latency(self) -> float:
        return self.completed - self.due


class LoadProgress(msgspec.Struct, frozen=True):
    """The progress of a load since its start; `recent_throughput` is in orders per second since the previous one."""

    elapsed: float
    orders: int
    recent_throughput: float
    in_flight: int
    outcomes: dict[str, int]
    latency: Latency


class LoadResult(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a load.

    `outcomes` counts completed `orders`, and `answers` all `requests`, by order status, problem or reason for having no
    response. `throughput` is in completed orders per second, `error_rate` the share without an order or a refusal.
    `behind` is the largest delay of the generator itself in seconds, `cpu` the share of a core it used; if it is too
    late or too busy, `is_bottleneck` is true and the result measures the generator.
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
