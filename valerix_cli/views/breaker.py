"""Views of the breaker of each replica: state and reason."""

from rich.console import RenderableType
from rich.text import Text

from valerix_cli.clients.wire import Breaker, BreakerTransition, BreakerWindow, ReplicaBreaker
from valerix_cli.units import format_duration
from valerix_cli.views.tables import clock, coloured, fine_clock, table


def breaker_view(breaker: Breaker) -> RenderableType:
    if not breaker.replicas:
        return Text("No replica has said anything about its breaker yet.")
    return table(
        "replica",
        "state",
        "since",
        "window",
        "next trial",
        "why",
        rows=[
            [
                one.replica,
                coloured(one.state),
                clock(one.since),
                window(one.window),
                "" if one.retry_in_seconds is None else f"in {format_duration(one.retry_in_seconds)}",
                why(one),
            ]
            for one in breaker.replicas
        ],
        wrap=("window", "why"),
        spare=("since",),
    )


def window(one: BreakerWindow) -> str:
    """Return `12 of 20 failed (60 %)`, with the minimum of calls that the threshold applies to."""
    if one.calls < one.minimum_calls:
        return f"{one.failures} of {one.calls} failed, counts from {one.minimum_calls} calls"
    return f"{one.failures} of {one.calls} failed ({one.failure_percent:.0f} %, opens at {one.threshold_percent:.0f} %)"


def why(one: ReplicaBreaker) -> str:
    return f"forced {one.forced} by an operator" if one.forced else one.reason or ""


def history_view(history: list[BreakerTransition]) -> RenderableType:
    if not history:
        return Text("No breaker has changed its state.")
    return table(
        "time",
        "replica",
        "from",
        "to",
        "why",
        rows=[
            [clock(one.at), one.replica, coloured(one.from_ or ""), coloured(one.to), one.reason or ""]
            for one in history
        ],
        wrap=("why",),
    )


def replica_line(one: ReplicaBreaker) -> str:
    """Return a transition of one replica's breaker in one line."""
    reason = why(one)
    return f"{fine_clock(one.since)}  {one.replica}  {one.state}" + (f": {reason}" if reason else "")
