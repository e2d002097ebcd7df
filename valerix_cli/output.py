"""Results on stdout, everything else on stderr; a pipe gets no colour, no boxes and no animation."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

import typer

from valerix_cli.errors import CliError, ExitCode
from valerix_cli.options import Format

if TYPE_CHECKING:  # Rich costs a tenth of a second, and --help must not pay for it
    from rich.console import Console, RenderableType

T = TypeVar("T")
C = TypeVar("C")

_WIDE_ENOUGH = 4096  # a pipe has no width: nothing is cut or wrapped


@dataclass(frozen=True)
class Output:
    """How this command talks."""

    format: Format = Format.TABLE
    quiet: bool = False
    verbose: bool = False


def show(value: T, view: "Callable[[T], RenderableType]", output: Output) -> None:
    """Write a result to stdout: `view(value)` for people, `value` itself for programs.

    A list becomes one line per entry with `-o jsonl`.
    """
    if output.format is Format.TABLE:
        _print(view(value))
    else:
        _write(_encoded(value, output.format))


def follow(
    snapshots: Iterable[T],
    *,
    screen: "Callable[[T], RenderableType]",
    changes: Callable[[T | None, T], Iterable[C]],
    line: Callable[[C], str],
    output: Output,
) -> None:
    """Show what is going on until `snapshots` end.

    A terminal gets `screen(snapshot)`, redrawn in place. Anything else gets one line per change: `line(change)`, or the
    change itself as JSON with `-o json` and `-o jsonl`, or as a YAML document.
    """
    if output.format is Format.TABLE and is_terminal(sys.stdout):
        from rich.live import Live  # noqa: PLC0415 - only a live view needs it

        with Live(console=_console(), auto_refresh=False) as live:
            for snapshot in snapshots:
                live.update(screen(snapshot), refresh=True)
        return
    last: T | None = None
    for snapshot in snapshots:
        for change in changes(last, snapshot):
            write_line(line(change) if output.format is Format.TABLE else change, output)
        last = snapshot


def write_line(value: object, output: Output) -> None:
    """Write one line of a result that comes bit by bit: a text as it is, a value as `-o` says."""
    if isinstance(value, str):
        _write(printable(value) + "\n")
    elif output.format is Format.YAML:
        _write("---\n" + _encoded(value, Format.YAML))
    else:
        _write(_encoded(value, Format.JSONL))


def talk(text: str, output: Output) -> None:
    """Say something that is not a result, unless `-q`."""
    if not output.quiet:
        _say(text)


def warn(text: str, output: Output) -> None:
    """Say something that must not be overlooked, unless `-q`."""
    if not output.quiet:
        _say(text, fg="yellow")


def explain(text: str, output: Output) -> None:
    """Say what goes on behind the scenes, with `-v`."""
    if output.verbose:
        _say(text, dim=True)


def progress(
    snapshots: Iterable[T], screen: "Callable[[T], RenderableType]", line: Callable[[T], str], output: Output
) -> None:
    """Show on stderr how something goes, until `snapshots` end: redrawn in place on a terminal, else a line each."""
    if output.quiet or not is_terminal(sys.stderr):
        for snapshot in snapshots:
            talk(line(snapshot), output)
        return
    from rich.console import Console  # noqa: PLC0415 - --help must not pay for it
    from rich.live import Live  # noqa: PLC0415 - the same

    with Live(console=Console(stderr=True, highlight=False), auto_refresh=False, transient=True) as live:
        for snapshot in snapshots:
            live.update(screen(snapshot), refresh=True)


@contextmanager
def busy(what: str, output: Output) -> Iterator[None]:
    """Show on a terminal that something goes on that takes a while; nothing elsewhere, and nothing with `-q`."""
    if output.quiet or not is_terminal(sys.stderr):
        yield
        return
    from rich.console import Console  # noqa: PLC0415 - --help must not pay for it

    with Console(stderr=True).status(f"{what}…"):
        yield


def print_error(error: CliError) -> None:
    """The three lines: what happened, why, what to type next."""
    _say(f"Error: {_one_line(error.what)}", fg="red", bold=True)
    _say(f"  why: {_one_line(error.why)}")
    _say(f"  try: {_one_line(error.hint)}")


def is_terminal(stream: TextIO) -> bool:
    """Whether somebody is looking who can be shown colours and movement."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def printable(text: str) -> str:
    """The text with what would move the cursor or change colours made visible: it may come from anywhere."""
    return "".join(
        char if char.isprintable() or char == "\n" else char.encode("unicode_escape").decode() for char in text
    )


def _say(text: str, **style: Any) -> None:
    text = printable(text)
    plain = not style or not is_terminal(sys.stderr) or "NO_COLOR" in os.environ
    print(text if plain else typer.style(text, **style), file=sys.stderr, flush=True)  # noqa: T201 - stderr is for talk


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _encoded(value: object, wanted: Format) -> str:
    import msgspec  # noqa: PLC0415 - --help must not pay for it

    if wanted is Format.YAML:
        import yaml  # noqa: PLC0415 - the same

        return str(yaml.safe_dump(msgspec.to_builtins(value), sort_keys=False, allow_unicode=True))
    if wanted is Format.JSON:
        return msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n"
    entries = value if isinstance(value, list | tuple) else [value]
    return "".join(msgspec.json.encode(entry).decode() + "\n" for entry in entries)


def _print(renderable: "RenderableType") -> None:
    from rich.text import Text  # noqa: PLC0415 - --help must not pay for it

    drawn = Text(printable(renderable)) if isinstance(renderable, str) else renderable  # a text is no markup
    if is_terminal(sys.stdout):
        _console().print(drawn)
        return
    from rich.console import Console  # noqa: PLC0415 - the same

    paper = StringIO()
    Console(file=paper, width=_WIDE_ENOUGH, no_color=True, force_terminal=False, highlight=False).print(drawn)
    _write("".join(line.rstrip() + "\n" for line in paper.getvalue().splitlines()))


def _console() -> "Console":
    from rich.console import Console  # noqa: PLC0415 - --help must not pay for it

    return Console(highlight=False)


def _write(text: str) -> None:
    write_raw(text.encode())


def write_raw(content: bytes) -> None:
    """Write bytes to stdout as they are. A reader that has seen enough ends the command quietly."""
    try:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(ExitCode.PIPE_CLOSED) from None
