"""The most important ratios, from a run of less than a minute. Pure."""

from statistics import median
from typing import Any

from tests.benchmarks.acceptance import alone, of_bound, per_second
from tests.benchmarks.figures import ratios
from tests.benchmarks.results import Result


def core(result: Result) -> dict[str, Any]:
    """Return the medians over all rounds: orders per second, milliseconds, and their ratios, by name."""
    bounds = result.bounds
    new = {case: found for case in ("hot/1", "hot/64", "hot/256") if (found := per_second(result, case))}
    again = ratios(per_second(result, "replays/64"), per_second(result, "new/64"))
    return {
        "command": result.command,
        "driver": result.driver,
        "server": result.server,
        "settings": result.settings,
        "one_by_one": {
            "order_rows": _middle([one.order_rows for one in bounds]),
            "stock_row": _middle([one.stock_row for one in bounds]),
            "orders": _middle([one.per_second for one in bounds]),
            "alone_ms": _middle([one.alone for one in bounds]),
        },
        "orders_per_second": {case: _middle(found) for case, found in new.items()},
        "of_one_by_one": {case: _middle(of_bound(result, case)) for case in new},
        "p50_alone_ms": _middle([one.p50 for one in result.cases.get("hot/1", [])]),
        "p50_alone_of_three_commits": _middle(alone(result)),
        "replays_of_new": _middle(again),
    }


def _middle(found: list[float]) -> float | None:
    return round(median(found), 3) if found else None
