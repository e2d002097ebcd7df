"""Bar and line charts of characters, readable without colours. Pure."""

import math
from collections.abc import Sequence

_HEIGHTS = " ▁▂▃▄▅▆▇█"
_LOWEST, _HIGHEST = 0.001, 10.0  # seconds: the ends of the scale, which is logarithmic


def sparkline(values: Sequence[float | None], width: int) -> str:
    """Return the last `width` values as bars relative to the highest; a blank stands for none."""
    shown = values[-width:] if width > 0 else []
    top = max((value for value in shown if value is not None), default=0.0)
    return "".join(_bar(None if value is None else value / top if top else 0.0) for value in shown).rjust(width)


def latency_bar(seconds: float | None, limit: float, width: int) -> str:
    """Return a bar on a logarithmic scale from 1 ms to 10 s, with a mark at `limit`."""
    width = max(width, 2)  # the limit, and the part above it
    mark = min(width - 2, round(_place(limit) * width))
    filled = 0 if seconds is None else max(1, round(_place(seconds) * width))
    if seconds is not None:  # independent of rounding, a bar crosses the limit exactly if its value does
        filled = max(filled, mark + 1) if seconds > limit else min(filled, mark)
    bar = "━" * filled + " " * (width - filled)
    return bar[:mark] + ("┃" if filled > mark else "│") + bar[mark + 1 :]


def latency_chart(values: Sequence[float | None], limit: float, width: int, height: int) -> list[str]:
    """Return the last `width` latencies as `height` lines, on the same scale, with a line at `limit`."""
    shown = ([None] * width + list(values))[-width:] if width > 0 else []
    line = min(height - 1, int(_place(limit) * height))
    rows = []
    for row in reversed(range(height)):
        blank = "╌" if row == line else " "
        rows.append("".join(_part(value, row, height) or blank for value in shown))
    return rows


def _part(value: float | None, row: int, height: int) -> str:
    """Return the part of a value's bar in that row, counted from below; empty above the bar."""
    if value is None:
        return ""
    eighths = math.ceil(_place(value) * height * 8) - row * 8
    return _HEIGHTS[min(8, eighths)] if eighths > 0 else ""


def _bar(share: float | None) -> str:
    return " " if share is None else _HEIGHTS[max(1, math.ceil(share * 8))]


def _place(seconds: float) -> float:
    """Return the position on the scale, from 0 to 1."""
    within = min(max(seconds, _LOWEST), _HIGHEST)
    return math.log(within / _LOWEST) / math.log(_HIGHEST / _LOWEST)
