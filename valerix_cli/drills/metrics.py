"""The metrics of a drill: of orders over a period, and of the platform at a moment. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from valerix_cli.drills.monitor import Sample
from valerix_cli.drills.receipt import Second
from valerix_cli.gates import Measured
from valerix_cli.load.histogram import Histogram
from valerix_cli.load.metrics import ACCEPTED, REFUSED, load_metrics
from valerix_cli.load.model import CompletedOrder

_STATES = ("closed", "half-open", "open")  # from best to worst


def order_metrics(orders: Iterable[CompletedOrder], seconds: float) -> dict[str, Measured | None]:
    """Return the metrics of a load over these orders, completed within `seconds`, and their counts."""
    latency, outcomes = Histogram(), Counter[str]()
    for order in orders:
        latency.record(order.latency)
        outcomes[order.outcome] += 1
    good = sum(count for outcome, count in outcomes.items() if outcome in ACCEPTED | REFUSED)
    return {
        **load_metrics(latency, outcomes, latency.count / seconds if seconds > 0 else 0.0),
        "orders": latency.count,
        "confirmed": outcomes["confirmed"],
        "refused": sum(outcomes[outcome] for outcome in REFUSED),
        "errors": latency.count - good,
    }


def platform_metrics(sample: Sample | None) -> dict[str, Measured | None]:
    """Return the metrics of the platform in one sample."""
    if sample is None:
        return {"backlog": None, "backlog_age": None, "dead": None}
    return {"backlog": sample.backlog, "backlog_age": sample.backlog_age, "dead": sample.dead}


def due_between(orders: Sequence[CompletedOrder], begin: float, end: float) -> list[CompletedOrder]:
    return [order for order in orders if begin <= order.due < end]


def completed_between(orders: Sequence[CompletedOrder], begin: float, end: float) -> list[CompletedOrder]:
    """Return the orders completed in this period, newest first. Searches from the end, where recent ones are."""
    found = []
    for order in reversed(orders):
        if order.completed < begin - _OUT_OF_ORDER:
            break
        if begin <= order.completed < end:
            found.append(order)
    return found


_OUT_OF_ORDER = 1.0  # seconds by which orders may be recorded out of order


def timeline(orders: Sequence[CompletedOrder], samples: Sequence[Sample]) -> list[Second]:
    """Return the run second by second."""
    completed: dict[int, list[CompletedOrder]] = {}
    for order in orders:
        completed.setdefault(int(order.completed), []).append(order)
    by_second: dict[int, Sample] = {int(sample.at): sample for sample in samples if sample.at >= 0}
    last = max([*completed, *by_second], default=-1)
    return [_second(at, completed.get(at, []), by_second.get(at)) for at in range(last + 1)]


def _second(at: int, orders: Sequence[CompletedOrder], sample: Sample | None) -> Second:
    latency = Histogram()
    for order in orders:
        latency.record(order.latency)
    return Second(
        at,
        dict(Counter(order.outcome for order in orders)),
        latency.at(50),
        latency.at(95),
        None if sample is None else worst_state(sample.breakers),
        None if sample is None else sample.backlog,
    )


def worst_state(breakers: Mapping[str, str] | None) -> str | None:
    """Return the worst state among the breakers; None if none is known."""
    return max(breakers.values(), key=_STATES.index) if breakers else None
