"""The demo's screen: text, facts, live metrics, and equivalent commands."""

from collections.abc import Iterable, Sequence

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from valerix_cli.demo.environment import RATE
from valerix_cli.demo.live_metrics import OVER, LiveMetrics
from valerix_cli.demo.model import Demo, Fact, Outcome, StepResult
from valerix_cli.demo.player import Frame
from valerix_cli.demo.script import TITLE
from valerix_cli.units import format_duration
from valerix_cli.views.tables import coloured, table

_WIDE, _HIGH = 120, 30  # columns from which on there is room for everything side by side
_AGENDA, _RIGHT = 39, 52  # columns
_SPREAD = 3.5  # lines per step of the agenda from which on blank lines separate them
_KEYS = "n next  b back  r retry  s skip  t notes  q quit"
_LIKE: dict[Outcome, str] = {
    "held": "confirmed",
    "missed": "dead",
    "violated": "dead",
    "skipped": "queued",
    "not-reached": "",
}
_BARS = "▁▂▃▄▅▆▇█"
_MINUTE = 60.0  # seconds


def screen(frame: Frame, console: Console) -> Group:
    """Render exactly the console's width and height."""
    width, height = console.size
    top, bottom = _lines(console, _header(frame), width), _lines(console, _footer(frame), width)
    room = height - len(top) - len(bottom)
    body = _wide(frame, console, room) if width >= _WIDE and height >= _HIGH else _narrow(frame, console, room)
    return Group(*(_Line(line) for line in [*top, *body, *bottom][:height]))


class _Line:
    """A rendered line."""

    def __init__(self, segments: list[Segment]) -> None:
        self._segments = segments

    def __rich_console__(self, *_: object) -> Iterable[Segment]:
        yield from self._segments
        yield Segment.line()


def _lines(console: Console, part: RenderableType, width: int) -> list[list[Segment]]:
    return console.render_lines(part, console.options.update(width=width, height=None), pad=True)


def _header(frame: Frame) -> RenderableType:
    line = Table.grid(expand=True)
    line.add_column(no_wrap=True, overflow="ellipsis")
    line.add_column(justify="right", no_wrap=True)
    line.add_row(Text(TITLE, style="dim"), Text(f"step {frame.number} of {frame.count}", style="dim"))
    line.add_row(Text(frame.step.title, style="bold"), _state(frame))
    return line


def _state(frame: Frame) -> Text:
    if frame.under_way:
        return Text(
            f"under way, {format_duration(frame.seconds)} of at most {format_duration(frame.step.timeout)}", "yellow"
        )
    result = frame.result
    after = f" after {format_duration(result.seconds)}" if result.outcome != "skipped" else ""
    return coloured(f"{result.outcome.upper()}{after}", _LIKE[result.outcome])


def _footer(frame: Frame) -> RenderableType:
    keys = _KEYS.replace("n next", "n end") if frame.number == frame.count else _KEYS
    text = f"{keys}   {frame.hint}" if frame.hint else keys
    return Padding(Text(text, style="reverse", no_wrap=True, overflow="ellipsis"), style="reverse")


def _narrow(frame: Frame, console: Console, room: int) -> list[list[Segment]]:
    """Stack all parts; speaker's notes replace the commands, and the facts take precedence over both."""
    width = console.size.width
    figures = [_heading("Now", width), _now(frame)]
    aside: list[RenderableType] = [_notes(frame, width)] if frame.notes else [_by_hand(frame, width)]
    below, beside = _lines(console, Group(*figures), width), _lines(console, Group(*aside), width)
    text, seen = (_lines(console, part, width) for part in (Text(frame.step.text), _seen(frame)))
    heading, blank = _lines(console, _heading("Seen", width), width), _lines(console, Text(" "), width)
    free = max(0, room - len(text) - len(heading) - len(seen) - len(below))
    beside = beside[:free] if free > 1 else []  # a heading alone is useless
    free -= len(beside)
    above = [*text, *blank * min(free, 1), *heading, *seen]
    return [*above[: max(0, room - len(below))], *blank * max(0, free - 1), *beside, *below][:room]


def _wide(frame: Frame, console: Console, room: int) -> list[list[Segment]]:
    middle = console.size.width - _AGENDA - _RIGHT
    left = Group(Text(), _agenda(frame, spread=room > _SPREAD * frame.count))
    story = Group(
        *(Text(), Text(frame.step.text, style="bold"), Text(), _heading("Seen", middle - 4), _seen(frame)),
        *(Text(), _by_hand(frame, middle - 4)),
    )
    figures: list[RenderableType] = [Text(), _heading("Now", _RIGHT), _now_in_full(frame), Text()]
    figures += [*_minute(frame)]
    if frame.notes:
        figures += [Text(), _notes(frame, _RIGHT)]
    columns = [
        _cut(_lines(console, left, _AGENDA - 2), room, _AGENDA),
        _cut(_lines(console, story, middle - 4), room, middle),
        _cut(_lines(console, Group(*figures), _RIGHT), room, _RIGHT),
    ]
    return [[segment for column in columns for segment in column[number]] for number in range(room)]


def _cut(lines: list[list[Segment]], room: int, width: int) -> list[list[Segment]]:
    """Return the lines that fit, each padded to `width`."""
    return Segment.set_shape(lines[:room], width, room)


def _heading(text: str, width: int) -> Text:
    return Text(f"{text} {'─' * (width - len(text) - 1)}", style="dim", no_wrap=True)


def _seen(frame: Frame) -> RenderableType:
    rows = Table.grid(padding=(0, 2, 0, 0))
    rows.add_column(style="dim", no_wrap=True)
    rows.add_column(overflow="fold")
    for fact in frame.result.facts:
        rows.add_row(fact.name, _text(fact))
    parts: list[RenderableType] = [rows]
    if frame.waiting_for:
        parts.append(Text(f"waiting for {frame.waiting_for}", style="yellow"))
    if frame.result.why:
        parts.append(coloured(frame.result.why, _LIKE[frame.result.outcome]))
    return Group(*parts)


def _text(fact: Fact) -> Text:
    style = "bold red" if fact.text.startswith("VIOLATED") else "green" if fact.text.startswith("clean") else ""
    return Text(fact.text, style=style)


def _now(frame: Frame) -> RenderableType:
    now = frame.metrics
    rows = Table.grid(padding=(0, 2, 0, 0))
    rows.add_column(style="dim", no_wrap=True)
    rows.add_column(overflow="fold")
    rows.add_row(
        f"last {OVER:g} s",
        f"{_or_dash(now.throughput, '{:.1f}')} orders/s   p50 {_time(now.p50)}   p95 {_time(now.p95)}   "
        f"backlog {'-' if now.backlog is None else now.backlog}",
    )
    rows.add_row("breakers", _breakers(now))
    rows.add_row("gremlin", _gremlin(now))
    return rows


def _now_in_full(frame: Frame) -> RenderableType:
    """Draw the metrics, one per line if there is room."""
    now = frame.metrics
    rows = Table.grid(padding=(0, 2, 0, 0))
    rows.add_column(style="dim", no_wrap=True)
    rows.add_column(overflow="fold")
    rows.add_row("orders", f"{_or_dash(now.throughput, '{:.1f}')} a second, over the last {OVER:g} s")
    rows.add_row("p50", _time(now.p50))
    rows.add_row("p95", _time(now.p95))
    rows.add_row("backlog", "-" if now.backlog is None else str(now.backlog))
    for replica, state in now.breakers.items():
        rows.add_row(replica, Text.assemble("breaker ", coloured(state)))
    rows.add_row("gremlin", _gremlin(now))
    return rows


def _breakers(now: LiveMetrics) -> Text:
    parts = [Text.assemble(f"{replica} ", coloured(state)) for replica, state in now.breakers.items()]
    return Text("   ").join(parts) if parts else Text("-")


def _gremlin(now: LiveMetrics) -> Text:
    if now.gremlin is None:
        return Text("none is live")
    left = "" if now.left is None else f", {format_duration(now.left)} left"
    return Text(f"{now.gremlin}{left}", style="yellow")


def _minute(frame: Frame) -> list[RenderableType]:
    """Draw the last minute of the load, each bar the maximum of several samples."""
    wide = _RIGHT - 12
    rows = Table.grid(padding=(0, 2, 0, 0))
    rows.add_column(style="dim", no_wrap=True)
    rows.add_column(no_wrap=True)
    p95 = [one.p95 for one in frame.history]
    orders = [one.throughput for one in frame.history]
    backlog = [None if one.backlog is None else float(one.backlog) for one in frame.history]
    for name, values, least in (("p95", p95, 1.0), ("orders/s", orders, RATE), ("backlog", backlog, 10.0)):
        rows.add_row(name, Text(bars(values, wide, least)))
    return [_heading("The last minute", _RIGHT), rows]


def bars(values: Sequence[float | None], width: int, least: float) -> str:
    """Return a bar per group of values, by the maximum of each; a full bar stands for `least` or more."""
    per = max(1, -(-len(values) // width))
    groups = [[one for one in values[first : first + per] if one is not None] for first in range(0, len(values), per)]
    highest = max([least, *(max(group) for group in groups if group)])
    return "".join(_bar(max(group), highest) if group else " " for group in groups)


def _bar(value: float, highest: float) -> str:
    return _BARS[min(len(_BARS) - 1, int(value / highest * len(_BARS)))]


def _by_hand(frame: Frame, width: int) -> RenderableType:
    return Group(_heading("By hand", width), *(Text(f"$ {command}") for command in frame.result.by_hand))


def _notes(frame: Frame, width: int) -> RenderableType:
    return Group(_heading("Speaker's notes", width), Text(frame.step.notes, style="italic"))


def _agenda(frame: Frame, *, spread: bool) -> RenderableType:
    rows = Table.grid(padding=(0, 1, 0, 0))
    rows.add_column(justify="right", no_wrap=True, min_width=2)
    rows.add_column(overflow="fold")
    for number, (title, outcome) in enumerate(frame.outcomes, start=1):
        here = number == frame.number
        word = "now" if here and frame.under_way else "" if outcome == "not-reached" else outcome
        rows.add_row(
            ">" if here else str(number),
            Group(
                Text(title, style="bold" if here else ""),
                coloured(word, _LIKE[outcome]),
                *([Text()] if spread else []),
            ),
        )
    return rows


def _or_dash(value: float | None, shape: str) -> str:
    return "-" if value is None else shape.format(value)


def _time(seconds: float | None) -> str:
    return "-" if seconds is None else format_duration(seconds)


def demo_view(demo: Demo) -> RenderableType:
    """Return the summary: a line per step."""
    parts: list[RenderableType] = [
        table(
            "step",
            "outcome",
            "took",
            "seen",
            rows=[[one.title, _outcome(one), format_duration(one.seconds), _last(one)] for one in demo.steps],
            right=("took",),
            wrap=("seen",),
        ),
        Text(),
        _conclusion(demo),
    ]
    return Group(*parts)


def _outcome(result: StepResult) -> Text:
    word = result.outcome.replace("-", " ")
    return coloured(word.upper() if result.outcome in {"missed", "violated"} else word, _LIKE[result.outcome])


def _last(result: StepResult) -> str:
    if result.why:
        return result.why
    return f"{result.facts[-1].name}: {result.facts[-1].text}" if result.facts else ""


def _conclusion(demo: Demo) -> Text:
    if demo.left:
        return coloured(f"NOT UNDONE: {'; '.join(demo.left)}", "dead")
    held = sum(one.outcome == "held" for one in demo.steps)
    return Text(
        f"{held} of {len(demo.steps)} steps held in {format_duration(demo.seconds)}; every fault is off (verified)."
    )
