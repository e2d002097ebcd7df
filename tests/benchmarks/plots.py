"""The pictures of docs/performance.md, drawn from a result: file name to SVG."""

from collections.abc import Sequence
from statistics import median

from tests.benchmarks.acceptance import per_second
from tests.benchmarks.formatting import PERCENTILES
from tests.benchmarks.latency import RATES
from tests.benchmarks.results import Result, Sample
from tests.benchmarks.svg import Curve, chart
from tests.benchmarks.throughput import CLIENTS


def plots(result: Result) -> dict[str, str]:
    """Return the pictures for which there are figures."""
    made = {
        "performance-throughput.svg": _throughput(result),
        "performance-latency.svg": _latency(result),
        "performance-drain.svg": _drain(result),
        "performance-memory.svg": _memory(result),
    }
    return {name: picture for name, picture in made.items() if picture}


def _throughput(result: Result) -> str | None:
    curves = []
    for case, name in (("hot", "one hot item"), ("items", "1,000 items"), ("replays", "replays")):
        points = [(float(n), median(found)) for n in CLIENTS if (found := per_second(result, f"{case}/{n}"))]
        curves += [Curve(name, points)] if len(points) > 1 else []
    if not curves:
        return None
    if result.bounds:
        bound = median(one.per_second for one in result.bounds)
        curves.append(Curve("one by one", [(CLIENTS[0], bound), (CLIENTS[-1], bound)], dashed=True))
    return chart("Orders a second", "clients", curves, ticks=CLIENTS)


def _latency(result: Result) -> str | None:
    rates = [rate for rate in RATES if f"rate/{rate}" in result.cases]
    if len(rates) < 2:
        return None
    curves = [
        Curve(name, [(float(rate), _middle(result.cases[f"rate/{rate}"], name)) for rate in rates])
        for name in PERCENTILES
    ]
    return chart("Milliseconds from when an order was due", "orders a second", curves)


def _drain(result: Result) -> str | None:
    timelines = [drain.timeline for drain in result.drains if len(drain.timeline) > 1]
    curves = [Curve(f"round {number}", timeline) for number, timeline in enumerate(timelines, 1)]
    return chart("Orders left of a backlog", "seconds since it was let go", curves) if curves else None


def _memory(result: Result) -> str | None:
    soak = result.soak
    if soak is None:
        return None
    minutes = [at / 60 for at in soak.times]
    curves = [Curve(name, list(zip(minutes, values, strict=True))) for name, values in soak.megabytes.items()]
    return chart(f"Megabytes under load by {soak.clients} clients", "minutes", curves)


def _middle(samples: Sequence[Sample], percentile: str) -> float:
    return float(median(getattr(sample, percentile) for sample in samples))
