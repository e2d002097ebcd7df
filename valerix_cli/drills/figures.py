"""What orders came to over a stretch of time, as the figures that requirements are held against. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from valerix_cli.drills.receipt import Second
from valerix_cli.drills.watching import Sighting
from valerix_cli.gates import Measured
from valerix_cli.load.histogram import Histogram
from valerix_cli.load.metrics import ACCEPTED, REFUSED, load_metrics
from valerix_cli.load.model import CompletedOrder

_STATES = ("closed", "half-open", "open")  # from good to bad


def figures(orders: Iterable[CompletedOrder], seconds: float) -> dict[str, Measured | None]:
    """The metrics of a load over these orders, which took `seconds`, and their counts."""
    latency, outcomes = Histogram(), Counter[str]()
    for seen in orders:
        latency.record(seen.latency)
        outcomes[seen.outcome] += 1
    good = sum(count for outcome, count in outcomes.items() if outcome in ACCEPTED | REFUSED)
    return {
        **load_metrics(latency, outcomes, latency.count / seconds if seconds > 0 else 0.0),
        "orders": latency.count,
        "confirmed": outcomes["confirmed"],
        "refused": sum(outcomes[outcome] for outcome in REFUSED),
        "errors": latency.count - good,
    }


def of_platform(seen: Sighting | None) -> dict[str, Measured | None]:
    """The metrics of the platform itself at one moment."""
    if seen is None:
        return {"backlog": None, "backlog_age": None, "dead": None}
    return {"backlog": seen.backlog, "backlog_age": seen.backlog_age, "dead": seen.dead}


def due_between(orders: Sequence[CompletedOrder], begin: float, end: float) -> list[CompletedOrder]:
    return [seen for seen in orders if begin <= seen.due < end]


def over_between(orders: Sequence[CompletedOrder], begin: float, end: float) -> list[CompletedOrder]:
    """Those that were over in that time, looked for from the end: only the last ones are ever asked for."""
    found = []
    for seen in reversed(orders):
        if seen.completed < begin - _OUT_OF_ORDER:
            break
        if begin <= seen.completed < end:
            found.append(seen)
    return found


_OUT_OF_ORDER = 1.0  # seconds: orders are noted as they are over, give or take a turn of the loop


def by_the_second(orders: Sequence[CompletedOrder], sightings: Sequence[Sighting]) -> list[Second]:
    """The run second by second."""
    completed: dict[int, list[CompletedOrder]] = {}
    for seen in orders:
        completed.setdefault(int(seen.completed), []).append(seen)
    looks: dict[int, Sighting] = {int(sighting.at): sighting for sighting in sightings if sighting.at >= 0}
    last = max([*completed, *looks], default=-1)
    return [_second(at, completed.get(at, []), looks.get(at)) for at in range(last + 1)]


def _second(at: int, orders: Sequence[CompletedOrder], look: Sighting | None) -> Second:
    latency = Histogram()
    for seen in orders:
        latency.record(seen.latency)
    return Second(
        at,
        dict(Counter(seen.outcome for seen in orders)),
        latency.at(50),
        latency.at(95),
        None if look is None else worst(look.breakers),
        None if look is None else look.backlog,
    )


def worst(breakers: Mapping[str, str] | None) -> str | None:
    """The worst state among replicas' breakers; None where none is known."""
    return max(breakers.values(), key=_STATES.index) if breakers else None
