"""Rates and percentiles from the metrics of the order replicas. Pure."""

import math
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence

import msgspec
from prometheus_client.parser import text_string_to_metric_families

LIMIT = 1.0
"""The alert threshold of an order's latency, in seconds."""
SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
WINDOW = 10
"""Samples that percentiles are computed over: one sample has too few orders for a p99."""
KEPT = 200  # samples: more than the widest screen has columns

_ORDERS = {"method": "POST", "route": "/api/orders"}


class Scrape(msgspec.Struct, frozen=True):
    """The counters of one replica, at a monotonic time.

    `buckets` are cumulative: the number of orders by the bucket's upper bound in seconds.
    """

    at: float
    buckets: Mapping[float, float]
    errors: float = 0.0
    replays: float = 0.0


class Step(msgspec.Struct, frozen=True):
    """The increase between two scrapes: rates per second, and cumulative orders by bucket."""

    per_second: float
    errors: float
    replays: float
    buckets: Mapping[float, float]


class Traffic(msgspec.Struct, frozen=True):
    """The current rate of orders, recent latencies, and the rates of earlier scrapes, oldest first.

    A percentile is in seconds, infinite beyond the last bucket, and None without any response.
    """

    per_second: float
    errors: float
    replays: float
    latency: Mapping[str, float | None]
    rates: Sequence[float] = ()
    p95s: Sequence[float | None] = ()


class Meter:
    """Computes `Traffic` from successive scrapes."""

    def __init__(self) -> None:
        self._last: dict[str, Scrape] = {}
        self._steps: deque[Step] = deque(maxlen=KEPT)

    def read(self, scrapes: Mapping[str, Scrape]) -> Traffic | None:
        """Return the traffic since the last scrape of each replica; None until a replica has two scrapes."""
        steps = [step(self._last[name], new) for name, new in scrapes.items() if name in self._last]
        self._last |= scrapes
        if steps:
            self._steps.append(total(steps))
        if not self._steps:
            return None
        now, recent = self._steps[-1], together(one.buckets for one in list(self._steps)[-WINDOW:])
        return Traffic(
            now.per_second,
            now.errors,
            now.replays,
            {name: percentile(recent, share) for name, share in SHARES.items()},
            [one.per_second for one in self._steps],
            [percentile(one.buckets, SHARES["p95"]) for one in self._steps],
        )


def scrape(text: str, at: float) -> Scrape:
    """Parse the metrics page of an order replica."""
    buckets: defaultdict[float, float] = defaultdict(float)
    errors = replays = 0.0
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "idempotency_cache_hits_total":
                replays += sample.value
            elif not _ORDERS.items() <= sample.labels.items():
                continue
            elif sample.name == "http_request_duration_seconds_bucket":
                buckets[float(sample.labels["le"])] += sample.value
            elif sample.name == "http_request_duration_seconds_count" and sample.labels["status"].startswith("5"):
                errors += sample.value
    return Scrape(at, dict(sorted(buckets.items())), errors, replays)


def step(before: Scrape, now: Scrape) -> Step:
    """Return the increase of one replica. A counter that decreased means a restart, so it counts from zero."""
    seconds = now.at - before.at
    if seconds <= 0:
        return Step(0.0, 0.0, 0.0, {})
    if _count(now) < _count(before) or now.replays < before.replays:
        before = Scrape(before.at, {})
    buckets = {bound: count - before.buckets.get(bound, 0.0) for bound, count in now.buckets.items()}
    return Step(
        buckets.get(math.inf, 0.0) / seconds,
        (now.errors - before.errors) / seconds,
        (now.replays - before.replays) / seconds,
        buckets,
    )


def total(steps: Sequence[Step]) -> Step:
    """Return the sum of several replicas' steps."""
    return Step(
        sum(one.per_second for one in steps),
        sum(one.errors for one in steps),
        sum(one.replays for one in steps),
        together(one.buckets for one in steps),
    )


def together(buckets: Iterable[Mapping[float, float]]) -> dict[float, float]:
    """Return the sum of the orders by bucket bound."""
    found: defaultdict[float, float] = defaultdict(float)
    for one in buckets:
        for bound, count in one.items():
            found[bound] += count
    return dict(sorted(found.items()))


def percentile(buckets: Mapping[float, float], share: float) -> float | None:
    """Return the latency below which `share` of the orders are, interpolated as Prometheus' histogram_quantile does."""
    rank = buckets.get(math.inf, 0.0) * share
    if rank == 0:
        return None
    lower, below = 0.0, 0.0
    for bound, count in buckets.items():
        if count >= rank:
            return bound if math.isinf(bound) else lower + (bound - lower) * (rank - below) / (count - below)
        lower, below = bound, count
    return math.inf


def _count(one: Scrape) -> float:
    return one.buckets.get(math.inf, 0.0)
