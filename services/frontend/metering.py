"""From what the order replicas have counted to rates, averages and percentiles. Pure."""

import math
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import msgspec
from prometheus_client.parser import text_string_to_metric_families

K = TypeVar("K")

AVERAGED = 30.0
"""Seconds that the rolling average of the response time is over."""
LATELY = 10.0
"""Seconds that percentiles are over: a second has too few orders for a p99."""
LIMIT = 1.0
"""Seconds above which the average response time is too much."""

_ORDERS = {"method": "POST", "route": "/api/orders"}


class Scrape(msgspec.Struct, frozen=True):
    """What one replica had counted `at` a moment of a monotonic clock, in seconds.

    `buckets` are cumulative: orders answered within so many seconds, by that bound; `seconds` is the sum of them all.
    """

    at: float
    buckets: Mapping[float, float] = {}
    seconds: float = 0.0
    counts: Mapping[str, float] = {}
    """By name: `errors`, `replays`, `conflicts`, and each status that an order was created with."""


class Step(msgspec.Struct, frozen=True):
    """What was counted between two looks that lie `lasted` seconds apart, up to `at`."""

    at: float
    lasted: float
    buckets: Mapping[float, float]
    seconds: float
    counts: Mapping[str, float]

    @property
    def answered(self) -> float:
        return self.buckets.get(math.inf, 0.0)


class Traffic(msgspec.Struct, frozen=True):
    """Rates are per second, of the last look; times in seconds, None where nothing was answered.

    `average` is of the last 30 s, percentiles of the last 10; beyond the last bucket they are infinite.
    """

    answered: float
    rates: Mapping[str, float]
    average: float | None
    p50: float | None
    p95: float | None
    p99: float | None


class Meter:
    """Turns the scrapes of one look after the other into `Traffic`."""

    def __init__(self) -> None:
        self._last: dict[str, Scrape] = {}
        self._steps: deque[Step] = deque()

    def read(self, scrapes: Mapping[str, Scrape]) -> Traffic | None:
        """What has happened since the last scrape of each replica; None until there are two of one."""
        steps = [step(self._last[name], new) for name, new in scrapes.items() if name in self._last]
        self._last |= scrapes
        if steps:
            self._steps.append(_as_one(steps))
        if not self._steps:
            return None
        now = self._steps[-1].at
        while self._steps[0].at <= now - AVERAGED:
            self._steps.popleft()
        return traffic(self._steps, now)


def scrape(text: str, at: float) -> Scrape:
    """What a page of metrics says of placing orders."""
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


def step(before: Scrape, now: Scrape) -> Step:
    """What one replica counted in between; one that counts less than before was started again, from nothing."""
    if now.buckets.get(math.inf, 0.0) < before.buckets.get(math.inf, 0.0) or any(
        now.counts.get(name, 0.0) < count for name, count in before.counts.items()
    ):
        before = Scrape(before.at)
    return Step(
        now.at,
        now.at - before.at,
        {bound: count - before.buckets.get(bound, 0.0) for bound, count in now.buckets.items()},
        now.seconds - before.seconds,
        {name: count - before.counts.get(name, 0.0) for name, count in now.counts.items()},
    )


def traffic(steps: Sequence[Step], now: float) -> Traffic:
    """The figures of some steps, the last of which ended `now`."""
    last = steps[-1]
    lately = _sum(one.buckets for one in steps if one.at > now - LATELY)
    answered = sum(one.answered for one in steps)
    per_second = 1 / last.lasted if last.lasted > 0 else 0.0
    return Traffic(
        last.answered * per_second,
        {name: count * per_second for name, count in last.counts.items()},
        sum(one.seconds for one in steps) / answered if answered else None,
        *(percentile(lately, share) for share in (0.5, 0.95, 0.99)),
    )


def percentile(buckets: Mapping[float, float], share: float) -> float | None:
    """The time that `share` of the orders kept to, as Prometheus' histogram_quantile interpolates it."""
    rank = buckets.get(math.inf, 0.0) * share
    if rank == 0:
        return None
    lower, below = 0.0, 0.0
    for bound, count in sorted(buckets.items()):
        if count >= rank:
            return bound if math.isinf(bound) else lower + (bound - lower) * (rank - below) / (count - below)
        lower, below = bound, count
    return math.inf


def _as_one(steps: Sequence[Step]) -> Step:
    """Several replicas' steps, taken at about the same time."""
    return Step(
        max(one.at for one in steps),
        max(one.lasted for one in steps),
        _sum(one.buckets for one in steps),
        sum(one.seconds for one in steps),
        _sum(one.counts for one in steps),
    )


def _sum(mappings: Iterable[Mapping[K, float]]) -> dict[K, float]:
    found: defaultdict[K, float] = defaultdict(float)
    for one in mappings:
        for name, count in one.items():
            found[name] += count
    return dict(found)
