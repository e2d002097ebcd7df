"""The standard streams: output that bypasses `valerix_cli.output` is escaped to plain text."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import IO, Any, NoReturn, TextIO, cast

from valerix_cli.errors import ExitCode, OutputError
from valerix_cli.escaping import escape


class EscapingStream:
    """Writes to `stream` with everything but text, line ends and tabs escaped; otherwise it is that stream.

    Tracebacks, warnings and libraries print here, with messages from anywhere.
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
    """Writes to `stream`, on which something is drawn; otherwise it is that stream.

    Once the terminal is gone, output is discarded, and `gone` is called by the writing thread.
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
    """End the command as SIGHUP does: the terminal that it wrote to, or read from, is gone."""
    sys.exit(ExitCode.HUNG_UP)


def go_on() -> None:
    """Work does not depend on a viewer."""


def guard_standard_streams() -> None:
    """Replace sys.stdout and sys.stderr by streams that escape; what is closed becomes the null device.

    Else the next file that is opened would get its number, and what is printed.
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
    """Have what is still to be written to a stream go nowhere: the interpreter tries once more as it ends."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


@contextlib.contextmanager
def write_errors_reported(stream: IO[str]) -> Iterator[None]:
    """Report a stream that cannot be written (disk full, terminal gone) in three lines.

    BrokenPipeError stays what it is. Raises OutputError.
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
    """The stream below one that escapes, for what has been escaped and now gets colours."""
    return cast("TextIO", stream.stream) if isinstance(stream, EscapingStream) else stream
