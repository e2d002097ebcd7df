"""Results on stdout, all other output on stderr; a pipe gets no colour, no boxes and no animation.

No other module writes to the standard streams, so all text for a terminal is escaped here.
"""

import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING, Any, TextIO, TypeVar, cast

import typer

from valerix_cli.errors import CliError, ExitCode, OutputError
from valerix_cli.escaping import escape, escape_json, escape_values, escape_yaml, printable
from valerix_cli.options import Format
from valerix_cli.streams import TerminalStream, discard, go_on, hang_up, unguarded, write_errors_reported

if TYPE_CHECKING:  # Rich costs a tenth of a second, and --help must not pay for it
    from rich.console import RenderableType

    from valerix_cli.console import SafeConsole

T = TypeVar("T")
C = TypeVar("C")

_WIDE_ENOUGH = 4096  # a pipe has no width: nothing is truncated or wrapped


@dataclass(frozen=True)
class Output:
    """Format and verbosity of this command's output."""

    format: Format = Format.TABLE
    quiet: bool = False
    verbose: bool = False


def print_result(value: T, view: "Callable[[T], RenderableType]", output: Output, *, keys: Iterable[str] = ()) -> None:
    """Write a result to stdout: `view(value)` for people, `value` itself for programs.

    A list becomes one line per entry with `-o jsonl`. Raises OutputError with the idempotency `keys` that were
    used, without which the operation cannot be repeated safely.
    """
    with naming_keys(keys):
        if output.format is Format.TABLE:
            _print(view(escape_values(value)))
        else:
            _write(_encoded(value, output.format))


@contextmanager
def naming_keys(keys: Iterable[str]) -> Iterator[None]:
    """Add these idempotency keys to an OutputError of the block."""
    try:
        yield
    except OutputError as error:
        if not (named := ", ".join(keys)):
            raise
        hint = "send again what you do not know the outcome of, with the same key"
        raise OutputError(error.what, f"{error.why}; what was sent has the key {named}", hint) from error


def follow(
    snapshots: Iterable[T],
    *,
    screen: "Callable[[T], RenderableType]",
    changes: Callable[[T | None, T], Iterable[C]],
    line: Callable[[C], str],
    output: Output,
) -> None:
    """Show `snapshots` until they end.

    A terminal gets `screen(snapshot)`, redrawn in place; once it is closed, the command exits with 129. Anything else
    gets one line per change: `line(change)`, or the change itself as JSON with `-o json` and `-o jsonl`, or as a YAML
    document.
    """
    if output.format is Format.TABLE and is_terminal(sys.stdout):
        from valerix_cli.console import live  # noqa: PLC0415 - only a live view needs it

        with live(_console(_drawn_on(sys.stdout, hang_up)), auto_refresh=False) as view:
            for snapshot in snapshots:
                view.update(screen(escape_values(snapshot)), refresh=True)
        return
    last: T | None = None
    for snapshot in snapshots:
        for change in changes(last, snapshot):
            write_line(line(escape_values(change)) if output.format is Format.TABLE else change, output)
        last = snapshot


def write_line(value: object, output: Output) -> None:
    """Write one line of a result that is produced gradually: a text unchanged, a value in the format of `-o`."""
    if isinstance(value, str):
        _write(escape(value) + "\n")
    elif output.format is Format.YAML:
        _write("---\n" + _encoded(value, Format.YAML))
    else:
        _write(_encoded(value, Format.JSONL))


def info(text: str, output: Output) -> None:
    """Print a message on stderr, unless `-q`."""
    if not output.quiet:
        _print_message(text)


def warn(text: str, output: Output) -> None:
    """Print a warning on stderr, unless `-q`."""
    if not output.quiet:
        _print_message(text, fg="yellow")


def debug(text: str, output: Output) -> None:
    """Print a debug message on stderr, with `-v`."""
    if output.verbose:
        _print_message(text, dim=True)


def progress(
    snapshots: Iterable[T], screen: "Callable[[T], RenderableType]", line: Callable[[T], str], output: Output
) -> None:
    """Show progress on stderr, until `snapshots` end: redrawn in place on a terminal, else a line each.

    It continues if the terminal is closed.
    """
    if output.quiet or not is_terminal(sys.stderr):
        for snapshot in snapshots:
            info(line(escape_values(snapshot)), output)
        return
    from valerix_cli.console import live  # noqa: PLC0415 - --help must not pay for it

    with live(_console(_drawn_on(sys.stderr, go_on)), auto_refresh=False, transient=True) as view:
        for snapshot in snapshots:
            view.update(screen(escape_values(snapshot)), refresh=True)


@contextmanager
def spinner(what: str, output: Output) -> Iterator[None]:
    """Show a spinner on a terminal during the block; nothing elsewhere, and nothing with `-q`."""
    if output.quiet or not is_terminal(sys.stderr):
        yield
        return
    from rich.spinner import Spinner  # noqa: PLC0415 - --help must not pay for it
    from rich.text import Text  # noqa: PLC0415 - the same

    from valerix_cli.console import live  # noqa: PLC0415 - the same

    spinner = Spinner("dots", text=Text(escape(f"{what}…")), style="green")
    with live(_console(_drawn_on(sys.stderr, go_on)), refresh_per_second=12.5, transient=True) as view:
        view.update(spinner)
        yield


def console_of_stdout() -> "SafeConsole":
    """Return the console of a live view whose subject continues if the terminal is closed."""
    return _console(_drawn_on(sys.stdout, go_on))


def ask_yes_no(question: str) -> bool:
    """Ask a yes-or-no question on stderr and return the reply typed on the terminal.

    Raises typer.Abort without a reply, and SystemExit with 129 once the terminal is closed.
    """
    try:
        return typer.confirm(escape(question), err=True)
    except (OSError, typer.Abort):
        if not sys.stdin.isatty():
            hang_up()
        raise


def ask_for_text(question: str) -> str:
    """Ask a question on stderr and return the reply typed on the terminal. Raises as `ask_yes_no` does."""
    try:
        return str(typer.prompt(escape(question), err=True, default="", show_default=False))
    except (OSError, typer.Abort):
        if not sys.stdin.isatty():
            hang_up()
        raise


def print_traceback(error: BaseException) -> None:
    """Print the traceback of an error on stderr."""
    for line in "".join(traceback.format_exception(error)).splitlines():
        _print_message(line)


def print_plain(text: str) -> None:
    """Write an escaped line to stdout. For --version, which needs no formats."""
    _write(escape(text) + "\n")


def draw(sequence: str) -> None:
    """Write a console's output to stdout, with its cursor movements; exit with 129 once the terminal is closed."""
    stream = _drawn_on(sys.stdout, hang_up)
    stream.write(sequence)
    stream.flush()


def print_error(error: CliError) -> None:
    """Print an error in three lines: what happened, why, and the command to try next."""
    _print_message(f"Error: {_one_line(error.what)}", fg="red", bold=True)
    _print_message(f"  why: {_one_line(error.why)}")
    _print_message(f"  try: {_one_line(error.hint)}")


def flush(code: int) -> int:
    """Flush stdout, and return the exit code, which becomes that of the error if this fails."""
    try:
        sys.stdout.flush()
    except (CliError, BrokenPipeError) as error:
        discard(sys.stdout)
        if not code and isinstance(error, CliError):
            print_error(error)
        return code or (error.code if isinstance(error, CliError) else ExitCode.PIPE_CLOSED)
    return code


def is_terminal(stream: TextIO) -> bool:
    """Return whether output goes to a terminal with colours and cursor movement."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def _print_message(text: str, **style: Any) -> None:
    text = escape(text)
    plain = not style or not is_terminal(sys.stderr) or "NO_COLOR" in os.environ
    styled = text if plain else typer.style(text, **style)
    stream = unguarded(sys.stderr)
    try:
        print(styled, file=stream, flush=True)
    except OSError:  # cannot be reported, and must not stop the command
        discard(stream)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _encoded(value: object, format_: Format) -> str:
    if format_ is Format.YAML:
        from valerix_cli.yaml_document import dump  # noqa: PLC0415 - --help must not pay for it

        return escape_yaml(dump(value))
    entries = value if isinstance(value, list | tuple) and format_ is Format.JSONL else [value]
    return "".join(escape_json(_json(entry, format_)) + "\n" for entry in entries)


def _json(value: object, format_: Format) -> str:
    import msgspec  # noqa: PLC0415 - --help must not pay for it

    try:
        encoded = msgspec.json.encode(value)
    except UnicodeEncodeError:  # an argument or a file name that is not UTF-8
        import json  # noqa: PLC0415 - the same

        return json.dumps(msgspec.to_builtins(value), indent=2 if format_ is Format.JSON else None)
    return (msgspec.json.format(encoded, indent=2) if format_ is Format.JSON else encoded).decode()


def _print(renderable: "RenderableType") -> None:
    from rich.text import Text  # noqa: PLC0415 - --help must not pay for it

    drawn = Text(renderable) if isinstance(renderable, str) else renderable  # otherwise Rich parses it as markup
    if is_terminal(sys.stdout):
        with write_errors_reported(unguarded(sys.stdout)):
            _console(sys.stdout).print(drawn)
        return
    paper = StringIO()
    _console(paper, width=_WIDE_ENOUGH, no_color=True, force_terminal=False).print(drawn)
    _write("".join(line.rstrip() + "\n" for line in paper.getvalue().splitlines()))


def _drawn_on(stream: TextIO, gone: Callable[[], object]) -> TextIO:
    return cast("TextIO", TerminalStream(unguarded(stream), gone))


def _console(stream: TextIO, **settings: Any) -> "SafeConsole":
    from valerix_cli.console import SafeConsole  # noqa: PLC0415 - --help must not pay for it

    return SafeConsole(file=unguarded(stream), **settings)


def _write(text: str) -> None:
    _write_bytes(text.encode())


def write_raw(content: bytes) -> None:
    """Write external bytes to stdout: unchanged to a pipe or a file, escaped to a terminal."""
    if sys.stdout.isatty():
        content = printable(content.decode(errors="backslashreplace")).encode()
    _write_bytes(content)


def _write_bytes(content: bytes) -> None:
    """Write bytes to stdout; exit quietly if a pipe's reader has closed it."""
    try:
        with write_errors_reported(unguarded(sys.stdout)):
            sys.stdout.buffer.write(content)
            sys.stdout.buffer.flush()
    except BrokenPipeError:
        discard(unguarded(sys.stdout))
        raise typer.Exit(ExitCode.PIPE_CLOSED) from None
