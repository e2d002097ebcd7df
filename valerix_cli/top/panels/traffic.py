"""The rate of orders and their latency."""

import math

from rich.console import Group, RenderableType
from rich.text import Text

from valerix_cli.top.charts import latency_bar, latency_chart, sparkline
from valerix_cli.top.panels.size import Room
from valerix_cli.top.rates import LIMIT, Traffic
from valerix_cli.units import format_duration
from valerix_cli.views.tables import coloured

_OVER = " over limit"
_CHART = 8  # lines


def draw(traffic: Traffic, room: Room) -> RenderableType:
    errors = f"{_rate(traffic.errors)} errors"
    rates = Text.assemble(
        f"{_rate(traffic.per_second)} per s, {_rate(traffic.replays)} replayed, ",
        coloured(errors, "failed" if traffic.errors else ""),
        no_wrap=True,
        overflow="ellipsis",
    )
    lines = [rates, Text(f"per s {sparkline(traffic.rates, room.width - len('per s '))}")]
    lines += [_percentile(name, seconds, room.width) for name, seconds in traffic.latency.items()]
    return Group(*lines, *(_chart(traffic, room.width) if room.tall else []))


def _percentile(name: str, seconds: float | None, width: int) -> Text:
    over = seconds is not None and seconds > LIMIT
    bar = latency_bar(seconds, LIMIT, width - len(name) - len(_OVER) - 10)
    line = f"{name} {_format_seconds(seconds):>8} {bar}{_OVER if over else ''}"
    return coloured(line, "failed" if over else "")


def _rate(per_second: float) -> str:
    """Return `0`, `4.2`, `1,234`: one decimal below ten."""
    return f"{per_second:.1f}" if 0 < per_second < 10 else f"{per_second:,.0f}"  # noqa: PLR2004 - see above


def _format_seconds(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return "> 10 s" if math.isinf(seconds) else format_duration(seconds)


def _chart(traffic: Traffic, width: int) -> list[Text]:
    rows = latency_chart(traffic.p95s, LIMIT, width, _CHART)
    return [Text("p95, look by look, 1 ms to 10 s; ╌ is the limit", style="dim"), *(Text(row) for row in rows)]
