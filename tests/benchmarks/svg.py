"""Line charts as small SVG files without scripts, fonts or links. The same figures give the same bytes."""

import math
from collections.abc import Callable, Sequence
from html import escape

import msgspec

_WIDTH, _HEIGHT = 720, 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 20, 40, 72
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")  # distinguishable with colour blindness
_STEPS = 5


class Curve(msgspec.Struct, frozen=True):
    """Points (x, y) joined by a line; dashed for a reference line."""

    name: str
    points: Sequence[tuple[float, float]]
    dashed: bool = False


def chart(title: str, x_name: str, curves: Sequence[Curve], *, ticks: Sequence[float] | None = None) -> str:
    """Return an SVG chart. With `ticks`, x is logarithmic and labelled at these values; else both axes begin at 0."""
    xs = [x for curve in curves for x, _ in curve.points]
    top = _rounded(max(y for curve in curves for _, y in curve.points))
    low, high = (min(xs), max(xs)) if ticks else (0.0, _rounded(max(xs)))
    place: Callable[[float], float] = (
        (lambda x: math.log(x / low) / math.log(high / low)) if ticks else (lambda x: x / high)
    )

    def at(x: float, y: float) -> tuple[float, float]:
        across, up = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
        return round(_LEFT + across * place(x), 1), round(_TOP + up * (1 - y / top), 1)

    parts = [f'<text x="{_WIDTH / 2:g}" y="22" text-anchor="middle" font-size="15">{escape(title)}</text>']
    for y in (top * step / _STEPS for step in range(_STEPS + 1)):
        (left, level), (right, _) = at(low, y), at(high, y)
        parts.append(f'<path d="M{left} {level}H{right}" stroke="#8884"/>{_label(left - 8, level + 4, y, "end")}')
    marked = ticks or [high * step / _STEPS for step in range(_STEPS + 1)]
    parts += [_label(at(x, 0)[0], at(x, 0)[1] + 18, x, "middle") for x in marked]
    parts.append(_label(_WIDTH / 2, _HEIGHT - 34, x_name, "middle"))
    for number, curve in enumerate(curves):
        parts.append(_drawn(curve, _COLOURS[number % len(_COLOURS)], [at(x, y) for x, y in curve.points]))
        parts.append(_legend(curve, _COLOURS[number % len(_COLOURS)], _LEFT + number * (_WIDTH - _LEFT) / len(curves)))
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif"'
    return f'{head} font-size="12" fill="#777">\n' + "\n".join(parts) + "\n</svg>\n"


def _drawn(curve: Curve, colour: str, places: Sequence[tuple[float, float]]) -> str:
    dash = ' stroke-dasharray="6 4"' if curve.dashed else ""
    path = "L".join(f"{x:g} {y:g}" for x, y in places)
    return f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>'


def _legend(curve: Curve, colour: str, x: float) -> str:
    dash = ' stroke-dasharray="6 4"' if curve.dashed else ""
    line = f'<path d="M{x:g} {_HEIGHT - 14}h22" stroke="{colour}" stroke-width="2"{dash}/>'
    return line + _label(x + 28, _HEIGHT - 10, curve.name, "start")


def _label(x: float, y: float, what: float | str, anchor: str) -> str:
    text = escape(what) if isinstance(what, str) else f"{what:,.10g}"
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}">{text}</text>'


def _rounded(most: float) -> float:
    """Return the smallest of 1, 2, 2.5, 5, 10, 20, … that is not below the value."""
    if most <= 0:
        return 1.0
    size = 10.0 ** math.floor(math.log10(most))
    return next(size * factor for factor in (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10) if size * factor >= most)
