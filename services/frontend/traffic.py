"""Computes rates, averages and percentiles from the metrics of the order replicas. Pure."""

import math
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import msgspec
from prometheus_client.parser import text_string_to_metric_families

K = TypeVar("K")

AVERAGE_WINDOW = 30.0
"""Seconds of the rolling average of the response time."""
PERCENTILE_WINDOW = 10.0
"""Seconds of the percentiles; one second has too few orders for a p99."""
AVERAGE_LIMIT = 1.0
"""Limit of the average response time in seconds."""

_ORDERS = {"method": "POST", "route": "/api/orders"}


class Scrape(msgspec.Struct, frozen=True):
    """The counters of one replica `at` a monotonic time in seconds.

    `buckets` are cumulative: the number of orders by the bucket's upper bound in seconds. `seconds` is their sum.
    """

    at: float
    buckets: Mapping[float, float] = {}
    seconds: float = 0.0
    counts: Mapping[str, float] = {}
    """By name: `errors`, `replays`, `conflicts`, and each initial status of orders."""


class Delta(msgspec.Struct, frozen=True):
    """The increase of the counters between two scrapes `elapsed` seconds apart, up to `at`."""

    at: float
    elapsed: float
    buckets: Mapping[float, float]
    seconds: float
    counts: Mapping[str, float]

    @property
    def answered(self) -> float:
        return self.buckets.get(math.inf, 0.0)


class Traffic(msgspec.Struct, frozen=True):
    """Rates are per second since the last scrape. Times are in seconds, None without orders.

    `average` is over 30 s, percentiles over 10 s; beyond the last bucket they are infinite.
    """

    answered: float
    rates: Mapping[str, float]
    average: float | None
    p50: float | None
    p95: float | None
    p99: float | None


class RateMeter:
    """Computes `Traffic` from successive scrapes."""

    def __init__(self) -> None:
        self._last: dict[str, Scrape] = {}
        self._deltas: deque[Delta] = deque()

    def read(self, scrapes: Mapping[str, Scrape]) -> Traffic | None:
        """Return the traffic since the last scrape of each replica; None until a replica has two scrapes."""
        deltas = [delta(self._last[name], new) for name, new in scrapes.items() if name in self._last]
        self._last |= scrapes
        if deltas:
            self._deltas.append(_merge(deltas))
        if not self._deltas:
            return None
        now = self._deltas[-1].at
        while self._deltas[0].at <= now - AVERAGE_WINDOW:
            self._deltas.popleft()
        return summarize(self._deltas, now)


def parse_scrape(text: str, at: float) -> Scrape:
    """Parse a metrics page."""
    buckets: defaultdict[float, float] = defaultdict(float)
    counts: defaultdict[str, float] = defaultdict(float)
    seconds = 0.0
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = sample.labels
            match sample.name:
                case "idempotency_cache_hits_total":
                    counts["replays"] += sample.value
                case "idempotency_conflicts_total":
                    counts["conflicts"] += sample.value
                case "orders_created_total":
                    counts[labels["status"]] += sample.value
                case "http_request_duration_seconds_bucket" if _ORDERS.items() <= labels.items():
                    buckets[float(labels["le"])] += sample.value
                case "http_request_duration_seconds_sum" if _ORDERS.items() <= labels.items():
                    seconds += sample.value
                case "http_request_duration_seconds_count" if _ORDERS.items() <= labels.items():
                    counts["errors"] += sample.value if labels["status"].startswith("5") else 0
    return Scrape(at, dict(sorted(buckets.items())), seconds, dict(counts))


def delta(before: Scrape, now: Scrape) -> Delta:
    """Return the increase between two scrapes. A counter that decreased means a restart, so it counts from zero."""
    if now.buckets.get(math.inf, 0.0) < before.buckets.get(math.inf, 0.0) or any(
        now.counts.get(name, 0.0) < count for name, count in before.counts.items()
    ):
        before = Scrape(before.at)
    return Delta(
        now.at,
        now.at - before.at,
        {bound: count - before.buckets.get(bound, 0.0) for bound, count in now.buckets.items()},
        now.seconds - before.seconds,
        {name: count - before.counts.get(name, 0.0) for name, count in now.counts.items()},
    )


def summarize(deltas: Sequence[Delta], now: float) -> Traffic:
    """Summarize deltas, the last of which ended `now`."""
    last = deltas[-1]
    recent = _sum(one.buckets for one in deltas if one.at > now - PERCENTILE_WINDOW)
    answered = sum(one.answered for one in deltas)
    per_second = 1 / last.elapsed if last.elapsed > 0 else 0.0
    return Traffic(
        last.answered * per_second,
        {name: count * per_second for name, count in last.counts.items()},
        sum(one.seconds for one in deltas) / answered if answered else None,
        *(percentile(recent, share) for share in (0.5, 0.95, 0.99)),
    )


def percentile(buckets: Mapping[float, float], share: float) -> float | None:
    """Return the percentile of `share`, interpolated like Prometheus' histogram_quantile."""
    rank = buckets.get(math.inf, 0.0) * share
    if rank == 0:
        return None
    lower, below = 0.0, 0.0
    for bound, count in sorted(buckets.items()):
        if count >= rank:
            return bound if math.isinf(bound) else lower + (bound - lower) * (rank - below) / (count - below)
        lower, below = bound, count
    return math.inf


def _merge(deltas: Sequence[Delta]) -> Delta:
    """Merge the deltas of several replicas, taken at about the same time."""
    return Delta(
        max(one.at for one in deltas),
        max(one.elapsed for one in deltas),
        _sum(one.buckets for one in deltas),
        sum(one.seconds for one in deltas),
        _sum(one.counts for one in deltas),
    )


def _sum(mappings: Iterable[Mapping[K, float]]) -> dict[K, float]:
    found: defaultdict[K, float] = defaultdict(float)
    for one in mappings:
        for name, count in one.items():
            found[name] += count
    return dict(found)
