"""The standard streams: output that bypasses `valerix_cli.output` is escaped to plain text."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import IO, Any, NoReturn, TextIO, cast

from valerix_cli.errors import ExitCode, OutputError
from valerix_cli.escaping import escape


class EscapingStream:
    """Writes to `stream` with all but text, line ends and tabs escaped; otherwise behaves like that stream.

    Tracebacks, warnings and libraries print here, with external text in their messages.
    """

    def __init__(self, stream: IO[str]) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        with write_errors_reported(self.stream):
            self.stream.write(escape(text, keep="\n\t"))
        return len(text)

    def flush(self) -> None:
        with write_errors_reported(self.stream):
            self.stream.flush()

    def writelines(self, lines: list[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


class TerminalStream:
    """Writes drawings to `stream`; otherwise behaves like that stream.

    Once the terminal is closed, output is discarded, and `gone` is called by the writing thread.
    """

    def __init__(self, stream: IO[str], gone: Callable[[], object]) -> None:
        self._stream, self._gone = stream, gone

    def write(self, text: str) -> int:
        with self._unless_gone():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._unless_gone():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextlib.contextmanager
    def _unless_gone(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            discard(self._stream)
            self._gone()


def hang_up() -> NoReturn:
    """Exit as for SIGHUP, since the terminal is closed."""
    sys.exit(ExitCode.HUNG_UP)


def go_on() -> None:
    """Do nothing: the command continues without the terminal."""


def guard_standard_streams() -> None:
    """Replace sys.stdout and sys.stderr by streams that escape; a closed one becomes the null device.

    Otherwise the next opened file would get its descriptor, and the output.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            _open_null(number)
            setattr(sys, name, open(number, "r" if number == 0 else "w", encoding="utf-8", closefd=False))  # noqa: SIM115 - for as long as the process lives
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if not isinstance(stream, EscapingStream):
            setattr(sys, name, EscapingStream(stream))


def discard(stream: IO[str]) -> None:
    """Redirect a stream to the null device: the interpreter flushes it once more at exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


@contextlib.contextmanager
def write_errors_reported(stream: IO[str]) -> Iterator[None]:
    """Report a stream that cannot be written (disk full, terminal closed) in three lines.

    BrokenPipeError is not changed. Raises OutputError.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(
            "The result could not be written.",
            f"{str(stream.name).strip('<>')}: {error.strerror}",
            "write it somewhere else; the command itself has completed",
        ) from error


def _open_null(number: int) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    if null != number:
        os.dup2(null, number)
        os.close(null)


def unguarded(stream: TextIO) -> TextIO:
    """Return the stream below one that escapes, for escaped text with colours."""
    return cast("TextIO", stream.stream) if isinstance(stream, EscapingStream) else stream
