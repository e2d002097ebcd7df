"""The state of the platform at one moment, for the figures on the screen."""

from collections.abc import Mapping, Sequence

import msgspec

from valerix_cli.clients.chaos_text import summary
from valerix_cli.drills.metrics import completed_between, order_metrics
from valerix_cli.drills.monitor import Sample
from valerix_cli.gates import as_floats
from valerix_cli.load.model import CompletedOrder

OVER = 5.0  # seconds of the load that the figures cover


class LiveMetrics(msgspec.Struct, frozen=True):
    """Orders per second and their latency in seconds over the last `OVER`; None if unknown.

    `breakers` has the state of each replica's breaker, `gremlin` the active one, which ends in `left` seconds.
    """

    throughput: float | None = None
    p50: float | None = None
    p95: float | None = None
    breakers: Mapping[str, str] = {}
    backlog: int | None = None
    gremlin: str | None = None
    left: float | None = None


def metrics(orders: Sequence[CompletedOrder], sample: Sample | None, now: float) -> LiveMetrics:
    """Return the metrics at `now`, in seconds since the load began."""
    recent = completed_between(orders, now - OVER, now)
    measured = as_floats(order_metrics(recent, OVER))
    live = sample.gremlin if sample else None
    return LiveMetrics(
        throughput=measured["throughput"],
        p50=measured["p50"],
        p95=measured["p95"],
        breakers=(sample.states or {}) if sample else {},
        backlog=sample.backlog if sample else None,
        gremlin=summary(live) if live else None,
        left=max(0.0, live.remaining_seconds - (now - sample.at)) if live and sample else None,
    )
