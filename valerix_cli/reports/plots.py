"""Charts of a run over time, as the shapes that `receipt.html` draws."""

from collections.abc import Sequence
from typing import NamedTuple

from valerix_cli.drills.receipt import Injection, Second

_OUTCOMES = (("confirmed", "good"), ("queued", "wait"), ("refused", "calm"), ("errors", "bad"))
_REFUSED = frozenset({"insufficient-stock", "unknown-item", "idempotency-key-reused", "failed"})


class Frame(NamedTuple):
    """The size of each chart in SVG units: the axes, and the margins left of and below them."""

    width: int
    height: int
    left: int
    below: int


FRAME = Frame(720, 150, 56, 22)


class Rect(NamedTuple):
    css: str
    x: float
    y: float
    width: float
    height: float
    title: str = ""


class Plot(NamedTuple):
    """A chart: `legend` has names and CSS classes, `lines` CSS classes and SVG path data."""

    title: str
    legend: Sequence[tuple[str, str]]
    rects: Sequence[Rect]
    lines: Sequence[tuple[str, str]]
    highest: str
    seconds: int


def latency_plot(timeline: Sequence[Second], injections: Sequence[Injection]) -> Plot:
    """Draw p50 and p95 of the orders that ended in each second."""
    highest = max((second.p95 or 0 for second in timeline), default=0) or 0.001
    measured = {"p95": [second.p95 for second in timeline], "p50": [second.p50 for second in timeline]}
    legend = [("p95", "bad"), ("p50", "calm")]
    lines = [(css, _path(timeline, measured[name], highest)) for name, css in legend]
    shades = _shades(timeline, injections)
    return Plot("Response time, seconds", legend, shades, lines, f"{highest:.3g} s", len(timeline))


def volume_plot(timeline: Sequence[Second], injections: Sequence[Injection]) -> Plot:
    """Draw the orders that ended in each second, by outcome."""
    columns = [_by_outcome(second) for second in timeline]
    highest = max((sum(column.values()) for column in columns), default=0) or 1
    width, bars = _step(timeline), []
    for second, column in zip(timeline, columns, strict=True):
        below = 0.0
        for name, css in _OUTCOMES:
            height = column[name] / highest * FRAME.height
            if height:
                x, y = FRAME.left + second.at * width, FRAME.height - below - height
                bars.append(Rect(css, x, y, width, height))
            below += height
    shades = _shades(timeline, injections)
    return Plot("Orders a second", _OUTCOMES, [*shades, *bars], [], str(highest), len(timeline))


def backlog_plot(timeline: Sequence[Second], injections: Sequence[Injection]) -> Plot:
    """Draw queued orders, and the times when a breaker was not closed."""
    highest = max((second.backlog or 0 for second in timeline), default=0) or 1
    width = _step(timeline)
    breaker = [
        Rect("bad" if second.breaker == "open" else "wait", FRAME.left + second.at * width, 0, width, 8)
        for second in timeline
        if second.breaker not in {None, "closed"}
    ]
    lines = [("calm", _path(timeline, [second.backlog for second in timeline], highest))]
    legend = [("backlog", "calm"), ("breaker open", "bad"), ("half-open", "wait")]
    shades = _shades(timeline, injections)
    return Plot("Orders queued", legend, [*shades, *breaker], lines, str(highest), len(timeline))


def _by_outcome(second: Second) -> dict[str, int]:
    column = dict.fromkeys((name for name, _ in _OUTCOMES), 0)
    for outcome, count in second.outcomes.items():
        if outcome in _REFUSED:
            column["refused"] += count
        elif outcome in {"queued", "pending", "dead"}:
            column["queued"] += count
        else:
            column["confirmed" if outcome == "confirmed" else "errors"] += count
    return column


def _shades(timeline: Sequence[Second], injections: Sequence[Injection]) -> list[Rect]:
    """Return the times when each fault was active, as rectangles."""
    width = _step(timeline)
    return [
        Rect(
            "fault",
            FRAME.left + one.began * width,
            0,
            max(1.0, ((one.ended or len(timeline)) - one.began) * width),
            FRAME.height,
            one.description,
        )
        for one in injections
    ]


def _path(timeline: Sequence[Second], values: Sequence[float | None], highest: float) -> str:
    """Return SVG path data, with gaps for missing values."""
    width, path, pen = _step(timeline), [], "M"
    for second, value in zip(timeline, values, strict=True):
        if value is None:
            pen = "M"
            continue
        x, y = FRAME.left + (second.at + 0.5) * width, FRAME.height - value / highest * FRAME.height
        path.append(f"{pen}{x:.1f} {y:.1f}")
        pen = "L"
    return " ".join(path)


def _step(timeline: Sequence[Second]) -> float:
    return FRAME.width / max(len(timeline), 1)
