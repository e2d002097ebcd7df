"""The requirements on a benchmark run, and their evaluation. Pure."""

from collections.abc import Sequence

import msgspec

from tests.benchmarks.figures import growth, ratios, spread
from tests.benchmarks.formatting import summary
from tests.benchmarks.gremlins import SEEDS_CHAOS
from tests.benchmarks.results import Result

ACCEPTED = {"201", "202"}
_LOOKS = 4  # samples of memory: with fewer, the second half shows no trend
SERVICES = ("order", "inventory", "worker")


class Line(msgspec.Struct, frozen=True):
    """A requirement: its figure, the required value, and whether it holds (None if not measured)."""

    what: str
    figure: str
    required: str
    holds: bool | None


def evaluate(result: Result) -> list[Line]:
    """Evaluate all requirements. Ratios compare two figures of the same round; the median over all rounds counts."""
    return [
        *_throughput(result),
        *_crowd(result),
        *_latency(result),
        *_chaos(result),
        _at_least("64 clients: replays, of new orders", _of(result, "replays/64", "new/64"), 1.5, " ×"),
        *_rows(result),
        *_memory(result),
    ]


def per_second(result: Result, case: str) -> list[float]:
    return [sample.per_second for sample in result.cases.get(case, [])]


def of_bound(result: Result, case: str) -> list[float]:
    """Return the throughput of each round as a multiple of the round's one-by-one bound."""
    return ratios(per_second(result, case), [bound.per_second for bound in result.bounds])


def alone(result: Result) -> list[float]:
    """Return the p50 of a single client as a multiple of pgbench's time for the three commits of an order."""
    return ratios([one.p50 for one in result.cases.get("hot/1", [])], [bound.alone for bound in result.bounds])


def _throughput(result: Result) -> list[Line]:
    lines = []
    for clients, floor, goal in ((64, 2.0, 4.0), (256, 3.0, 6.0)):
        for case, kind in (("hot", "one hot item"), ("items", "1,000 items")):
            what = f"{clients} clients, {kind}: orders a second, of the one-by-one bound"
            lines.append(_at_least(what, of_bound(result, f"{case}/{clients}"), floor, " ×", goal=goal))
            two = of_bound(result, f"replicas/2/{case}/{clients}")
            lines.append(_at_least(f"two order services, {what}", two, floor, " ×", goal=goal))
        found = _of(result, f"items/{clients}", f"hot/{clients}")
        lines.append(_at_least(f"{clients} clients: 1,000 items, of one hot item", found, 1, " ×"))
    return lines


def _crowd(result: Result) -> list[Line]:
    crowd = [one.server_errors + one.unanswered for one in result.cases.get("hot/1000", [])]
    found = _of(result, "hot/1000", "hot/256")
    return [
        _at_least("1,000 clients: orders a second, of those at 256", found, 0.9, " ×"),
        _none("1,000 clients: answers 5xx, or none", crowd),
    ]


def _latency(result: Result) -> list[Line]:
    lines = [_at_most("one client: p50, of its three commits by pgbench", alone(result), 3, " ×")]
    for case, name, percentile, most in (
        ("rate/half", "half of the throughput at 256 clients", "p95", 50),
        ("rate/half", "half of the throughput at 256 clients", "p99", 150),
        ("rate/500", "500 orders/s", "p95", 25),
    ):
        found = [getattr(one, percentile) for one in result.cases.get(case, [])]
        lines.append(_at_most(f"{name}: {percentile}", found, most, " ms"))
    return lines


def _chaos(result: Result) -> list[Line]:
    """Return the requirements under chaos. Figures with an open breaker count only if it opened in every round."""
    found = result.ordeals.get(SEEDS_CHAOS, [])
    refused = [sum(n for status, n in one.statuses.items() if status not in ACCEPTED) + one.unanswered for one in found]
    opened = found if all(one.opened_after is not None for one in found) else []
    pace = [one.live.per_second / one.calm.per_second for one in opened]
    drained = [0.0 if one.drain.left else one.drain.per_second for one in found]
    return [
        _none("the seed's chaos: answers other than 201 and 202, or none", refused),
        _at_most("the seed's chaos, breaker open: p95", [one.live.p95 for one in opened], 50, " ms"),
        _at_least("the seed's chaos, breaker open: orders a second, of those in a steady state", pace, 1, " ×"),
        _at_least("after it: backlog drained, while 95 % to 5 % are left", drained, 1000, "/s"),
        _none("after it: audits that are not clean", [one.audit != "clean" for one in found]),
    ]


def _rows(result: Result) -> list[Line]:
    lines = []
    for full in (case for case in result.cases if case.startswith("rows/") and "/full/" in case):
        _, rows, _, clients = full.split("/")
        what = f"{clients} clients, {int(rows):,} orders stored: orders a second, of an empty table"
        lines.append(_at_least(what, _of(result, full, full.replace("/full/", "/empty/")), 0.85, " ×"))
    return lines or [_at_least("orders stored: orders a second, of an empty table", [], 0.85, " ×")]


def _memory(result: Result) -> list[Line]:
    most = [size for name, size in result.peaks.items() if name.startswith(SERVICES)]
    soak = result.soak
    grown = [
        100 * growth(soak.times, values)
        for name, values in (soak.megabytes if soak else {}).items()
        if soak and len(values) >= _LOOKS and name.startswith(SERVICES)
    ]
    minutes = f" of {soak.times[-1] / 60:.2g} minutes" if soak else ""
    what = f"memory: the most that a service grows over the second half{minutes} of load"
    return [
        _at_most("memory of the largest service, at most", most and [max(most)], 200, " MB"),
        _at_most(what, grown and [max(grown)], 5, " %"),
    ]


def _of(result: Result, case: str, other: str) -> list[float]:
    return ratios(per_second(result, case), per_second(result, other))


def _at_least(what: str, found: Sequence[float], least: float, unit: str, *, goal: float | None = None) -> Line:
    required = f"≥ {least:,g}{unit}" + (f" (goal {goal:g}{unit})" if goal else "")
    return _line(what, summary(found, unit), required, spread(found).median >= least if found else None)


def _at_most(what: str, found: Sequence[float], most: float, unit: str) -> Line:
    return _line(what, summary(found, unit), f"≤ {most:,g}{unit}", spread(found).median <= most if found else None)


def _none(what: str, found: Sequence[int]) -> Line:
    """Require that the sum over all rounds is zero."""
    return _line(what, f"{sum(found):,}", "0", not sum(found) if found else None)


def _line(what: str, figure: str, required: str, holds: bool | None) -> Line:  # noqa: FBT001 - the last of four
    return Line(what, "not measured" if holds is None else figure, required, holds)
