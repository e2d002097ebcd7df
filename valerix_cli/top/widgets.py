"""A panel on the screen: its title, with the age of outdated data, and its text."""

from collections.abc import Callable
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.markup import escape
from textual.widgets import Static

from valerix_cli.escaping import escape_values
from valerix_cli.top.model import Reading, Snapshot
from valerix_cli.top.panels.size import Room
from valerix_cli.units import format_duration

Draw = Callable[[Snapshot, Room], RenderableType]
Part = Callable[[Snapshot], Reading[Any]]


class Panel(VerticalScroll, can_focus=True):
    """`part` selects its value from a snapshot, `draw` draws it; without a value `nothing` is shown.

    `legend` explains a sign beside the title.
    """

    def __init__(
        self, name: str, title: str, part: Part, draw: Draw, nothing: str = "asking …", *, legend: str = ""
    ) -> None:
        super().__init__(classes=name)
        self._title, self._legend, self._part, self._draw, self._nothing = title, legend, part, draw, nothing
        self.border_title = self._titled()
        self._body = Static(markup=False)
        self._snapshot: Snapshot | None = None

    def compose(self) -> ComposeResult:
        yield self._body

    def show(self, snapshot: Snapshot) -> None:
        """Redraw the panel with the snapshot's values as plain text."""
        snapshot = escape_values(snapshot)
        self._snapshot = snapshot
        reading = self._part(snapshot)
        old = f", {format_duration(reading.age)} old" if reading.fault and reading.age else ""
        self.border_title = self._titled(old)
        self._body.update(self._drawn(snapshot, reading))

    def _titled(self, old: str = "") -> str:
        return escape(f"{self._title}{old}  {self._legend}".rstrip())

    def on_resize(self) -> None:
        if self._snapshot is not None:
            self.show(self._snapshot)

    def _drawn(self, snapshot: Snapshot, reading: Reading[Any]) -> RenderableType:
        fault = [Text(reading.fault, style="yellow")] if reading.fault else []
        if reading.value is None:
            return fault[0] if fault else Text(self._nothing)
        room = Room(self.scrollable_content_region.width, self.screen.has_class("-tall"))
        return Group(*fault, self._draw(snapshot, room))
