"""The metrics of a load, computed from its latencies and outcomes. Pure."""

import math
from collections.abc import Mapping
from fractions import Fraction

from valerix_cli.gates import Measured
from valerix_cli.load.histogram import Histogram
from valerix_cli.load.model import MIN_ORDERS, PERCENTILES

ACCEPTED = frozenset({"confirmed", "queued", "pending", "failed", "dead"})
REFUSED = frozenset({"insufficient-stock", "unknown-item", "idempotency-key-reused"})


def order_count(rate: float, seconds: float) -> int:
    """Return the number of orders due before the end of a load; the first is due at its start."""
    return max(1, math.ceil(round(rate * seconds, 6)))


def load_metrics(latency: Histogram, outcomes: Mapping[str, int], throughput: float) -> dict[str, Measured | None]:
    """Return the value of each metric; None if there are too few orders to measure it."""
    orders = latency.count

    def share(of: frozenset[str]) -> Fraction | None:
        return Fraction(sum(outcomes.get(outcome, 0) for outcome in of), orders) if orders else None

    good = share(ACCEPTED | REFUSED)
    return {
        **{name: latency.at(percent) if orders >= MIN_ORDERS[name] else None for name, percent in PERCENTILES.items()},
        "mean": latency.mean,
        "max": latency.longest if orders else None,
        "throughput": throughput if orders else None,
        "error_rate": None if good is None else 1 - good,
        "refused_rate": share(REFUSED),
        "queued_rate": share(frozenset({"queued"})),
    }
