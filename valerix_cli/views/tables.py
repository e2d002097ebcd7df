"""The common style of all tables: no boxes, muted headings, figures to the right."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

_ENDLESS = 4096  # characters: wider than any terminal

_COLOURS = {
    "confirmed": "green",
    "closed": "green",
    "queued": "yellow",
    "pending": "yellow",
    "half-open": "yellow",
    "failed": "red",
    "open": "red",
    "dead": "bold red",
}


@dataclass(frozen=True)
class FittingTable:
    """A table that drops its optional columns, one after the other, until it fits the terminal."""

    columns: tuple[str, ...]
    rows: list[list[RenderableType]]
    right: frozenset[str]
    wrap: frozenset[str]
    spare: tuple[str, ...]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        endless = options.update(width=_ENDLESS)
        for left_out in range(len(self.spare)):
            drawn = self._without(self.spare[:left_out])
            if Measurement.get(console, endless, drawn).maximum <= options.max_width:
                yield drawn
                return
        yield self._without(self.spare)

    def _without(self, left_out: tuple[str, ...]) -> Table:
        shown = [number for number, column in enumerate(self.columns) if column not in left_out]
        drawn = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
        for column in (self.columns[number] for number in shown):
            drawn.add_column(
                column.upper(),
                justify="right" if column in self.right else "left",
                no_wrap=column not in self.wrap,
                overflow="fold" if column in self.wrap else "ellipsis",
            )
        for row in self.rows:
            drawn.add_row(*(row[number] for number in shown))
        return drawn


def table(
    *columns: str,
    rows: Iterable[Iterable[RenderableType]],
    right: Iterable[str] = (),
    wrap: Iterable[str] = (),
    spare: Iterable[str] = (),
) -> FittingTable:
    """Return a table with these headings.

    The columns in `right` hold figures; those in `wrap` may take several lines; those in `spare` are dropped, the first
    one first, if the terminal is too narrow for all.
    """
    return FittingTable(
        columns, [[_cell(cell) for cell in row] for row in rows], frozenset(right), frozenset(wrap), tuple(spare)
    )


def facts(rows: Iterable[tuple[str, RenderableType]]) -> Table:
    """Return a table of names and values."""
    drawn = Table.grid(padding=(0, 2, 0, 0))
    drawn.add_column(style="dim")
    drawn.add_column(overflow="fold")
    for name, value in rows:
        drawn.add_row(name, _cell(value))
    return drawn


def _cell(value: RenderableType) -> RenderableType:
    return Text(value) if isinstance(value, str) else value  # otherwise Rich parses it as markup


def coloured(word: str, like: str | None = None) -> Text:
    """Return a status or state in its colour; or other words in the colour of the status `like`."""
    return Text(word, style=_COLOURS.get(word if like is None else like, ""))


def clock(at: datetime) -> str:
    """Return the local time to the second."""
    return at.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def fine_clock(at: datetime) -> str:
    """Return the local time of day to the millisecond."""
    return at.astimezone().strftime("%H:%M:%S.%f")[:-3]
