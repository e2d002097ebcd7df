"""How many orders are answered, and how fast."""

import math

from rich.console import Group, RenderableType
from rich.text import Text

from valerix_cli.durations import say_duration
from valerix_cli.top.drawing import latency_bar, latency_chart, sparkline
from valerix_cli.top.panels.room import Room
from valerix_cli.top.rates import LIMIT, Traffic
from valerix_cli.views.tables import coloured

_OVER = " over limit"
_CHART = 8  # lines


def draw(traffic: Traffic, room: Room) -> RenderableType:
    rates = Text(f"{traffic.per_second:.1f} orders/s  {traffic.replays:.1f} replays/s  ")
    errors = f"{traffic.errors:.1f} errors/s"
    rates.append_text(coloured(errors, "failed") if traffic.errors else Text(errors))
    lines = [rates, Text(sparkline(traffic.rates, room.width), style="cyan")]
    lines += [_percentile(name, seconds, room.width) for name, seconds in traffic.latency.items()]
    return Group(*lines, *(_chart(traffic, room.width) if room.tall else []))


def _percentile(name: str, seconds: float | None, width: int) -> Text:
    over = seconds is not None and seconds > LIMIT
    bar = latency_bar(seconds, LIMIT, width - len(name) - len(_OVER) - 10)
    line = f"{name} {_say(seconds):>8} {bar}{_OVER if over else ''}"
    return coloured(line, "failed" if over else "")


def _say(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return "> 10 s" if math.isinf(seconds) else say_duration(seconds)


def _chart(traffic: Traffic, width: int) -> list[Text]:
    rows = latency_chart(traffic.p95s, LIMIT, width, _CHART)
    return [Text("p95, look by look, 1 ms to 10 s; ╌ is the limit", style="dim"), *(Text(row) for row in rows)]
