"""The breaker of each replica in the last minute, the reason, and its next trial."""

from datetime import datetime

from rich.console import Group, RenderableType
from rich.text import Text

from valerix_cli.clients.wire import Breaker, BreakerTransition, ReplicaBreaker
from valerix_cli.top.panels.size import Room
from valerix_cli.top.timeline import MARKS, timeline
from valerix_cli.units import format_duration
from valerix_cli.views.breaker import why, window
from valerix_cli.views.tables import coloured

LEAST = 60.0
"""The minimum of seconds that a timeline shows, however narrow it is."""


def draw(breaker: Breaker, at: datetime, room: Room) -> RenderableType:
    """Draw the minute before `at`, the time of the snapshot."""
    if not breaker.replicas:
        return Text("No replica has said anything about its breaker yet.")
    return Group(*(line for one in breaker.replicas for line in _replica(one, breaker.history, at, room.width)))


def stretch(width: int) -> float:
    """Return the whole seconds per character, for at least a minute in all."""
    return 1.0 if width >= LEAST else 2.0


def _replica(one: ReplicaBreaker, history: list[BreakerTransition], now: datetime, width: int) -> list[Text]:
    head = Text.assemble(f"{one.replica}  ", coloured(one.state), _next(one), no_wrap=True, overflow="ellipsis")
    cells = timeline(one, history, now, cells=width, seconds=stretch(width))
    line = Text()
    for state in cells:
        line.append_text(coloured(MARKS[state], state or ""))
    reason = Text(why(one) or window(one.window), style="dim")
    return [head, line, reason]


def _next(one: ReplicaBreaker) -> str:
    if one.state == "half-open":
        return ", one trial at a time"
    return "" if one.retry_in_seconds is None else f", next trial in {format_duration(one.retry_in_seconds)}"
