"""Rich's console, for which external text is never markup. Slow to import."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, TextIO, cast

from rich.console import Console, ConsoleOptions, RenderableType
from rich.file_proxy import FileProxy
from rich.live import Live
from rich.segment import Segment
from rich.text import Text

from valerix_cli.escaping import printable
from valerix_cli.streams import EscapingStream


class SafeConsole(Console):
    """Escapes all text that it draws; only Rich itself controls the terminal.

    Escape values before layout (`escape_values`), since escaping lengthens text.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **settings)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        if isinstance(renderable, Text) and renderable.plain != (plain := printable(renderable.plain)):
            renderable = Text(
                plain,
                style=renderable.style,
                justify=renderable.justify,
                overflow=renderable.overflow,
                no_wrap=renderable.no_wrap,
            )
        return map(safe_segment, super().render(renderable, options))


def safe_segment(segment: Segment) -> Segment:
    """Return the segment without unsafe characters and hyperlinks; control segments are unchanged."""
    if segment.control:
        return segment
    text, style = printable(segment.text), segment.style
    if style is not None and style.link is not None:
        style = style.update_link(None)
    return segment if text == segment.text and style is segment.style else Segment(text, style)


@contextmanager
def live(console: SafeConsole, **settings: Any) -> Iterator[Live]:
    """Yield a view that is redrawn in place; other output meanwhile is printed above it, escaped."""
    with unredirected_live(console, **settings) as view, above(console):
        yield view


def unredirected_live(console: SafeConsole, **settings: Any) -> Live:
    """Return Rich's view without its redirection of the standard streams, which would let colours through."""
    return Live(console=console, redirect_stdout=False, redirect_stderr=False, **settings)


@contextmanager
def above(console: SafeConsole) -> Iterator[None]:
    """Print text that is written to the standard streams by a console that draws in place."""
    import sys  # noqa: PLC0415 - its streams as they are now

    if not console.is_terminal:
        yield
        return
    out, err = (_above(console, stream) for stream in (sys.stdout, sys.stderr))
    with redirect_stdout(out), redirect_stderr(err):
        yield


def _above(console: SafeConsole, stream: TextIO) -> TextIO:
    return cast("TextIO", EscapingStream(cast("TextIO", FileProxy(console, stream))))
