"""The standard streams, on which whoever prints past `valerix_cli.output` prints text and nothing else."""

import sys
from typing import IO, Any, TextIO, cast

from valerix_cli.escaping import escape


class EscapingStream:
    """Writes to `stream` with everything but text, line ends and tabs escaped; otherwise it is that stream.

    Tracebacks, warnings and libraries print here, with messages from anywhere.
    """

    def __init__(self, stream: IO[str]) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        self.stream.write(escape(text, keep="\n\t"))
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def guard_standard_streams() -> None:
    """Replace sys.stdout and sys.stderr by streams that escape; a stream that is closed stays None."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and not isinstance(stream, EscapingStream):
            setattr(sys, name, EscapingStream(stream))


def unguarded(stream: TextIO) -> TextIO:
    """The stream below one that escapes, for what has been escaped and now gets colours."""
    return cast("TextIO", stream.stream) if isinstance(stream, EscapingStream) else stream
