"""Measure how fast a backlog drains."""

import time

import psycopg

from tests.benchmarks import loads
from tests.benchmarks.bench import Bench, checkpoint
from tests.benchmarks.figures import drain_of
from tests.benchmarks.live import Live
from tests.benchmarks.results import Drain
from valerix_cli.local.stack import ORDER_DB

_LOOK_EVERY = 0.25  # seconds
_WITHIN = 180.0  # seconds; orders unfinished by then are reported as left
_RATE = 2000  # orders per second that are queued


def measure(bench: Bench, shop: Live, backlog: int) -> Drain:
    """Queue orders, none of them tried yet, with a breaker forced open; then set it to automatic and watch."""
    shop.valerix("breaker", "open")
    try:
        loads.at_rate(shop, _RATE, seconds=backlog / _RATE, prefix=bench.prefix(), seed=bench.seed)
        checkpoint(shop)
    finally:
        shop.valerix("breaker", "auto")
    drain = watch(shop)
    bench.drains.append(drain)
    bench.say(f"drain: {described(drain)}")
    return drain


def watch(shop: Live) -> Drain:
    """Poll the number of unfinished orders until it is zero."""
    timeline: list[tuple[float, int]] = []
    began = time.monotonic()
    with psycopg.connect(shop.url(ORDER_DB), autocommit=True) as conn:
        while not timeline or (timeline[-1][1] and timeline[-1][0] < _WITHIN):
            if timeline:
                time.sleep(_LOOK_EVERY)
            row = conn.execute("SELECT count(*) FROM orders WHERE status IN ('pending', 'queued')").fetchone()
            timeline.append((time.monotonic() - began, row[0] if row else 0))
    return drain_of(timeline)


def described(drain: Drain) -> str:
    left = f", {drain.left:,} LEFT" if drain.left else ""
    took = f"{drain.orders:,} orders in {drain.last:g} s, falling after {drain.first:g} s{left}"
    return f"{took}: {drain.per_second:,.0f}/s"
