"""Rendering of frames for a terminal, a recording and stills."""

import io
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from valerix_cli import files
from valerix_cli.console import SafeConsole
from valerix_cli.demo.asciicast import Recording
from valerix_cli.demo.player import Frame
from valerix_cli.demo.screens import screen
from valerix_cli.demo.script import TITLE
from valerix_cli.errors import CliError
from valerix_cli.escaping import escape_values

Size = tuple[int, int]

_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l\x1b[2J", "\x1b[?25h\x1b[?1049l"
_FONTS = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)  # they would be loaded over the network


class Renderer:
    """Sends the changed lines to each listener. `size` returns the terminal's columns and lines."""

    def __init__(self, size: Callable[[], Size], *, colour: bool) -> None:
        self._size, self._colour = size, colour
        self._shown: list[str] = []
        self._shown_at: Size | None = None
        self.listeners: list[Callable[[str], None]] = []
        self.recording: Recording | None = None

    def draw(self, frame: Frame) -> None:
        width, height = size = self._size()
        if size != self._shown_at:
            if self.recording and self._shown_at:
                self.recording.resized(width, height)
            self._write("\x1b[2J")
            self._shown, self._shown_at = [], size
        lines = render(frame, size, colour=self._colour)
        self._write("".join(changes(self._shown, lines)))
        self._shown = lines

    def draw_result(self, frame: Frame) -> None:
        self.draw(frame)

    def begin(self) -> None:
        self._write(_ENTER)

    def end(self) -> None:
        with suppress(OSError):  # a closed terminal
            self._write(_LEAVE)

    def _write(self, text: str) -> None:
        if not text:
            return
        for listener in [*self.listeners, *([self.recording.output] if self.recording else [])]:
            listener(text)


class Stills:
    """Writes one SVG per step into a directory, with the last screen of the step."""

    def __init__(self, directory: Path, size: Callable[[], Size]) -> None:
        """Raise CliError if the directory cannot be created."""
        self._directory, self._size = directory, size
        self.written: list[str] = []
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unwritten(directory, error) from error
        for earlier in directory.glob("[0-9][0-9]-*.svg"):
            files.check(earlier, files.PICTURE)

    def draw(self, frame: Frame) -> None:
        """Do nothing: a still is made of a finished step."""

    def draw_result(self, frame: Frame) -> None:
        console = _console(self._size(), colour=True, record=True)
        console.print(screen(escape_values(frame), console), end="")
        path = self._directory / f"{frame.number:02}-{frame.step.name}.svg"
        try:
            svg = _FONTS.sub("", console.export_svg(title=f"valerix demo: {TITLE}"))
            files.write(path, svg.encode(), files.PICTURE)
        except OSError as error:
            raise _unwritten(path, error) from error
        if str(path) not in self.written:
            self.written.append(str(path))


def render(frame: Frame, size: Size, *, colour: bool) -> list[str]:
    """Return the lines of a frame, each with its escape sequences."""
    console = _console(size, colour=colour)
    console.print(screen(escape_values(frame), console), end="")
    file = console.file
    assert isinstance(file, io.StringIO)  # noqa: S101 - made below # nosec B101
    return file.getvalue().splitlines()


def changes(before: list[str], now: list[str]) -> Iterable[str]:
    """Yield the output that turns one screen into the next: each line that differs, at its position."""
    for number, line in enumerate(now):
        if number >= len(before) or before[number] != line:
            yield f"\x1b[{number + 1};1H{line}\x1b[0m\x1b[K"


def _console(size: Size, *, colour: bool, record: bool = False) -> SafeConsole:
    width, height = size
    return SafeConsole(
        file=io.StringIO(),
        width=width,
        height=height,
        force_terminal=True,
        color_system="standard",
        no_color=not colour,
        legacy_windows=False,
        record=record,
        _environ={},
    )


def _unwritten(path: Path, error: OSError) -> CliError:
    return CliError(f"{path} was not written.", str(error.strerror), "valerix demo --stills DIRECTORY")
