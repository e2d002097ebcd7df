"""The one look of all tables: no boxes, quiet headings, figures to the right."""

from collections.abc import Iterable
from datetime import datetime

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

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


def table(*columns: str, rows: Iterable[Iterable[RenderableType]], right: Iterable[str] = ()) -> Table:
    """A table with these headings; the columns named in `right` hold figures."""
    drawn = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for column in columns:
        drawn.add_column(column.upper(), justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*row)
    return drawn


def facts(rows: Iterable[tuple[str, RenderableType]]) -> Table:
    """One thing, fact by fact."""
    drawn = Table.grid(padding=(0, 2, 0, 0))
    drawn.add_column(style="dim")
    drawn.add_column(overflow="fold")
    for name, value in rows:
        drawn.add_row(name, value)
    return drawn


def coloured(word: str) -> Text:
    """A status or a state in the colour it has everywhere."""
    return Text(word, style=_COLOURS.get(word, ""))


def clock(at: datetime) -> str:
    """Local time to the second."""
    return at.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def fine_clock(at: datetime) -> str:
    """Local time of day to the millisecond."""
    return at.astimezone().strftime("%H:%M:%S.%f")[:-3]


def percent(share: float) -> str:
    """0.25 as `25 %`."""
    return f"{share * 100:g} %"
