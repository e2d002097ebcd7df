"""What orders came to over a stretch of time, as the figures that requirements are held against. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from valerix_cli.drills.receipt import Second
from valerix_cli.drills.watching import Sighting
from valerix_cli.gates import Measured
from valerix_cli.load.histogram import Histogram
from valerix_cli.load.model import Seen
from valerix_cli.load.run import ACCEPTED, REFUSED, measure

_STATES = ("closed", "half-open", "open")  # from good to bad


def figures(orders: Iterable[Seen], seconds: float) -> dict[str, Measured | None]:
    """The metrics of a load over these orders, which took `seconds`, and their counts."""
    latency, outcomes = Histogram(), Counter[str]()
    for seen in orders:
        latency.record(seen.latency)
        outcomes[seen.said] += 1
    good = sum(count for said, count in outcomes.items() if said in ACCEPTED | REFUSED)
    return {
        **measure(latency, outcomes, latency.count / seconds if seconds > 0 else 0.0),
        "orders": latency.count,
        "confirmed": outcomes["confirmed"],
        "refused": sum(outcomes[said] for said in REFUSED),
        "errors": latency.count - good,
    }


def of_platform(seen: Sighting | None) -> dict[str, Measured | None]:
    """The metrics of the platform itself at one moment."""
    if seen is None:
        return {"backlog": None, "backlog_age": None, "dead": None}
    return {"backlog": seen.backlog, "backlog_age": seen.backlog_age, "dead": seen.dead}


def due_between(orders: Sequence[Seen], begin: float, end: float) -> list[Seen]:
    return [seen for seen in orders if begin <= seen.due < end]


def over_between(orders: Sequence[Seen], begin: float, end: float) -> list[Seen]:
    """Those that were over in that time, looked for from the end: only the last ones are ever asked for."""
    found = []
    for seen in reversed(orders):
        if seen.over < begin - _OUT_OF_ORDER:
            break
        if begin <= seen.over < end:
            found.append(seen)
    return found


_OUT_OF_ORDER = 1.0  # seconds: orders are noted as they are over, give or take a turn of the loop


def by_the_second(orders: Sequence[Seen], sightings: Sequence[Sighting]) -> list[Second]:
    """The run second by second."""
    over: dict[int, list[Seen]] = {}
    for seen in orders:
        over.setdefault(int(seen.over), []).append(seen)
    looks: dict[int, Sighting] = {int(sighting.at): sighting for sighting in sightings if sighting.at >= 0}
    last = max([*over, *looks], default=-1)
    return [_second(at, over.get(at, []), looks.get(at)) for at in range(last + 1)]


def _second(at: int, orders: Sequence[Seen], look: Sighting | None) -> Second:
    latency = Histogram()
    for seen in orders:
        latency.record(seen.latency)
    return Second(
        at,
        dict(Counter(seen.said for seen in orders)),
        latency.at(50),
        latency.at(95),
        None if look is None else worst(look.breakers),
        None if look is None else look.backlog,
    )


def worst(breakers: Mapping[str, str] | None) -> str | None:
    """The worst state among replicas' breakers; None where none is known."""
    return max(breakers.values(), key=_STATES.index) if breakers else None
