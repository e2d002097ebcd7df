"""Load by `valerix load`: at a fixed rate, which wrk does not support, or by clients if wrk is not installed."""

from collections import Counter
from typing import Any

import msgspec

from tests.benchmarks.audit import ITEMS
from tests.benchmarks.closed import Closed
from tests.benchmarks.errors import Broken
from tests.benchmarks.live import HOT, Live
from tests.benchmarks.results import Sample
from valerix_cli.load import LoadResult

_CONNECTIONS = 1000  # at once, at a fixed rate: above it, orders wait inside the sender


def at_rate(shop: Live, rate: float, *, seconds: float, prefix: str, seed: int) -> Sample:
    """Send orders of the hot item at a fixed rate. Latency counts from the time when an order is due."""
    how = ["--rate", f"{rate:g}/s", "--connections", str(_CONNECTIONS)]
    return _run(shop, [*how, "--item", HOT], seconds=seconds, prefix=prefix, seed=seed)


def closed(shop: Live, load: Closed) -> Sample:
    """Run a closed-loop load. Of replays, 99 % repeat one of the last thousand keys."""
    items = ITEMS[: load.items] or [HOT]
    how = ["--clients", str(load.clients), *(part for item in items for part in ("--item", item))]
    again = ["--repeats", "99%"] if load.known else []
    prefix = f"{load.prefix}again-" if load.known else load.prefix
    return _run(shop, [*how, *again], seconds=load.seconds, prefix=prefix, seed=load.seed)


def _run(shop: Live, how: list[str], *, seconds: float, prefix: str, seed: int) -> Sample:
    what = ["--for", f"{seconds:g}s", "--seed", str(seed), "--key-prefix", prefix]
    return sample_of(shop.valerix("load", *how, *what))


def sample_of(printed: Any) -> Sample:
    """Convert the output of `valerix load -o json`. Raises Broken if no order got a response."""
    found = msgspec.convert(printed, LoadResult)
    statuses: Counter[str] = Counter()
    for outcome, count in found.answers.items():
        first = outcome.split()[0]
        statuses[first if first.isdigit() else "unanswered"] += count
    unanswered = statuses.pop("unanswered", 0)
    p50, p95, p99 = found.latency.p50, found.latency.p95, found.latency.p99
    if p50 is None or p95 is None or p99 is None:
        raise Broken("No order was answered.", f"{unanswered} requests got no answer", "valerix status")
    return Sample(
        per_second=found.throughput,
        p50=round(p50 * 1e3, 2),
        p95=round(p95 * 1e3, 2),
        p99=round(p99 * 1e3, 2),
        statuses=dict(sorted(statuses.items())),
        unanswered=unanswered,
        replayed=found.replayed,
        limited=found.is_bottleneck,
    )
