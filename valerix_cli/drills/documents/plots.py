"""The run second by second, as SVG that stands by itself: no script, no font, nothing from elsewhere."""

from collections.abc import Sequence
from html import escape

from valerix_cli.drills.receipt import Injection, Second

_WIDE, _HIGH, _LEFT, _BELOW = 720, 150, 56, 22
_OUTCOMES = (("confirmed", "good"), ("queued", "wait"), ("refused", "calm"), ("errors", "bad"))
_REFUSED = frozenset({"insufficient-stock", "unknown-item", "idempotency-key-reused", "failed"})


def latency_plot(timeline: Sequence[Second], injections: Sequence[Injection]) -> str:
    """p50 and p95 of the orders that were over in each second."""
    highest = max((second.p95 or 0 for second in timeline), default=0) or 0.001
    lines = [
        (f"p{name}", css, [(second.at, getattr(second, f"p{name}")) for second in timeline])
        for name, css in (("95", "bad"), ("50", "calm"))
    ]
    body = "".join(_line(points, highest, len(timeline), css) for _, css, points in lines)
    legend = [(name, css) for name, css, _ in lines]
    return _frame("Response time, seconds", body, timeline, injections, f"{highest:.3g} s", legend)


def volume_plot(timeline: Sequence[Second], injections: Sequence[Injection]) -> str:
    """Orders that were over in each second, by what they came to."""
    columns = [_sorted_out(second) for second in timeline]
    highest = max((sum(column.values()) for column in columns), default=0) or 1
    width = _step(len(timeline))
    bars = []
    for second, column in zip(timeline, columns, strict=True):
        below = 0.0
        for name, css in _OUTCOMES:
            high = column[name] / highest * _HIGH
            if high:
                x, y = _LEFT + second.at * width, _HIGH - below - high
                bars.append(f'<rect class="{css}" x="{x:.1f}" y="{y:.1f}" width="{width:.2f}" height="{high:.1f}"/>')
            below += high
    return _frame("Orders a second", "".join(bars), timeline, injections, str(highest), _OUTCOMES)


def backlog_plot(timeline: Sequence[Second], injections: Sequence[Injection]) -> str:
    """What was queued, and when the breaker was not closed."""
    highest = max((second.backlog or 0 for second in timeline), default=0) or 1
    width = _step(len(timeline))
    lane = "".join(
        f'<rect class="{"bad" if second.breaker == "open" else "wait"}" x="{_LEFT + second.at * width:.1f}" y="0" '
        f'width="{width:.2f}" height="8"/>'
        for second in timeline
        if second.breaker not in {None, "closed"}
    )
    body = lane + _line([(second.at, second.backlog) for second in timeline], highest, len(timeline), "calm")
    legend = [("backlog", "calm"), ("breaker open", "bad"), ("half-open", "wait")]
    return _frame("Orders queued", body, timeline, injections, str(highest), legend)


def _sorted_out(second: Second) -> dict[str, int]:
    column = dict.fromkeys((name for name, _ in _OUTCOMES), 0)
    for said, count in second.outcomes.items():
        if said in _REFUSED:
            column["refused"] += count
        elif said in {"queued", "pending", "dead"}:
            column["queued"] += count
        else:
            column["confirmed" if said == "confirmed" else "errors"] += count
    return column


def _frame(
    title: str,
    body: str,
    timeline: Sequence[Second],
    injections: Sequence[Injection],
    highest: str,
    legend: Sequence[tuple[str, str]],
) -> str:
    seconds, width = len(timeline), _step(len(timeline))
    shades = "".join(
        f'<rect class="fault" x="{_LEFT + one.began * width:.1f}" y="0" '
        f'width="{max(1.0, ((one.ended or seconds) - one.began) * width):.1f}" height="{_HIGH}">'
        f"<title>{escape(one.says)}</title></rect>"
        for one in injections
    )
    keys = "".join(f'<span><i class="{css}"></i>{escape(name)}</span>' for name, css in legend)
    return (
        f'<figure><figcaption>{escape(title)}<span class="keys">{keys}</span></figcaption>'
        f'<svg viewBox="0 0 {_LEFT + _WIDE} {_HIGH + _BELOW}" role="img" aria-label="{escape(title)}">{shades}{body}'
        f'<path class="axis" d="M{_LEFT} 0V{_HIGH}H{_LEFT + _WIDE}"/>'
        f'<text x="{_LEFT - 6}" y="12" text-anchor="end">{escape(highest)}</text>'
        f'<text x="{_LEFT - 6}" y="{_HIGH}" text-anchor="end">0</text>'
        f'<text x="{_LEFT}" y="{_HIGH + 16}">0 s</text>'
        f'<text x="{_LEFT + _WIDE}" y="{_HIGH + 16}" text-anchor="end">{seconds} s</text></svg></figure>'
    )


def _line(points: Sequence[tuple[int, float | None]], highest: float, seconds: int, css: str) -> str:
    """A line that is broken where nothing was measured."""
    width, path, pen = _step(seconds), [], "M"
    for at, value in points:
        if value is None:
            pen = "M"
            continue
        path.append(f"{pen}{_LEFT + (at + 0.5) * width:.1f} {_HIGH - value / highest * _HIGH:.1f}")
        pen = "L"
    return f'<path class="line {css}" d="{" ".join(path)}"/>' if path else ""


def _step(seconds: int) -> float:
    return _WIDE / max(seconds, 1)
