"""Views of a load's progress and result."""

from collections.abc import Mapping

from rich.console import Group, RenderableType
from rich.text import Text

from valerix_cli.gates import Check, format_value
from valerix_cli.load.model import METRICS, Latency, LoadProgress, LoadResult, Plan
from valerix_cli.units import format_duration
from valerix_cli.views.tables import coloured, facts, table

_MARKS = {True: "held", False: "MISSED", None: "not measured"}
_LIKE = {True: "confirmed", False: "dead", None: "queued"}
_SHOWN = ("p50", "p95", "p99", "max")


def pace(plan: Plan) -> str:
    """Return `500 orders/s` or `64 clients`."""
    if plan.rate is not None:
        return f"{plan.rate:g} orders/s"
    return f"{plan.clients} client{'s' if plan.clients != 1 else ''}"


def snapshot_view(progress: LoadProgress) -> RenderableType:
    return facts(
        [
            ("after", format_duration(progress.elapsed)),
            (
                "answered",
                f"{progress.orders:,}, {progress.recent_throughput:,.0f}/s now, {progress.in_flight:,} under way",
            ),
            ("outcomes", _counts(progress.outcomes)),
            ("latency", _latency(progress.latency)),
        ]
    )


def snapshot_line(progress: LoadProgress) -> str:
    return (
        f"{format_duration(progress.elapsed)}: {progress.orders:,} answered, {progress.recent_throughput:,.0f}/s, "
        f"{progress.in_flight:,} under way; {_latency(progress.latency)}; {_counts(progress.outcomes)}"
    )


def result_view(result: LoadResult) -> RenderableType:
    rows: list[tuple[str, RenderableType]] = [
        ("load", f"{pace(result.plan)}, {_items(result.plan)}, seed {result.plan.seed}"),
        ("orders", f"{result.orders:,} in {format_duration(result.seconds)}, {result.throughput:,.1f}/s"),
        ("outcomes", _counts(result.outcomes)),
        (
            "requests",
            f"{result.requests:,}, of which {result.retried:,} were sent again; {result.replayed:,} answers replayed",
        ),
        ("errors", "-" if result.error_rate is None else format_value(result.error_rate, "share")),
        ("latency", _latency(result.latency)),
    ]
    parts: list[RenderableType] = [facts(rows)]
    if result.checks:
        parts += [Text(), _checks(result.checks)]
    if result.is_bottleneck:
        parts += [Text(), Text(_bottleneck(result), style="yellow")]
    return Group(*parts)


def _checks(checks: list[Check]) -> RenderableType:
    rows: list[list[RenderableType]] = [
        [check.require, coloured(_MARKS[check.held], _LIKE[check.held]), check.why] for check in checks
    ]
    return table("require", "verdict", "why", rows=rows, wrap=("why",))


def _bottleneck(result: LoadResult) -> str:
    return (
        f"The sender itself is what was measured: it used {result.cpu:.0%} of a core at {result.throughput:,.0f}/s"
        f" and was up to {format_duration(result.behind)} behind its plan."
    )


def _items(plan: Plan) -> str:
    hot = len(plan.items) == 1 or plan.mix == "hot"
    return f"{plan.items[0]} only" if hot else f"{plan.mix} over {len(plan.items)} items"


def _counts(outcomes: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {outcome}" for outcome, count in outcomes.items()) or "-"


def _latency(latency: Latency) -> str:
    shown = [(name, getattr(latency, name)) for name in _SHOWN]
    return (
        ", ".join(f"{name} {format_value(value, METRICS[name])}" for name, value in shown if value is not None) or "-"
    )
