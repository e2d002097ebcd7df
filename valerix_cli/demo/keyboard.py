"""Single keys from a terminal, whose settings are always restored."""

import os
import re
import select
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

from valerix_cli.demo.navigation import Key
from valerix_cli.streams import hang_up

_MEANING: dict[bytes, Key] = {
    **dict.fromkeys((b"n", b" ", b"\r", b"\n", b"\x1b[C", b"\x1bOC", b"\x1b[6~"), "next"),
    **dict.fromkeys((b"b", b"\x7f", b"\b", b"\x1b[D", b"\x1bOD", b"\x1b[5~"), "back"),
    b"r": "retry",
    b"s": "skip",
    b"t": "notes",
    **dict.fromkeys((b"q", b"\x04"), "quit"),
}
"""Key bindings, including Page Up and Page Down, which presentation remotes send."""

_ONE = re.compile(rb"\x1b[\[O][0-9;]*[A-Za-z~]|\x1b|[\xc0-\xff][\x80-\xbf]*|.", re.DOTALL)
_BEGUN = re.compile(rb"\x1b(?:[\[O][0-9;]*)?\Z")
_READ = 64


class Keyboard(Protocol):
    """A source of keys."""

    def wait(self, seconds: float) -> list[Key]: ...


class Terminal:
    """The keyboard of the presenter."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._rest = b""

    def wait(self, seconds: float) -> list[Key]:
        """Return the keys pressed, none after the timeout. Raises SystemExit with 129 once the terminal is closed."""
        ready, _, _ = select.select([self._descriptor], [], [], seconds)
        if not ready:
            self._rest = b""  # a lone escape, or an incomplete sequence
            return []
        read = b""
        with suppress(OSError):
            read = os.read(self._descriptor, _READ)
        if not read:
            hang_up()
        keys, self._rest = decode(self._rest + read)
        return keys


@contextmanager
def single_keys(descriptor: int) -> Iterator[Terminal]:
    """Yield a terminal that reads keys unbuffered and without echo; Ctrl-C still raises a signal."""
    try:
        before = termios.tcgetattr(descriptor)
        tty.setcbreak(descriptor)
    except termios.error:  # the terminal is closed
        hang_up()
    try:
        yield Terminal(descriptor)
    finally:
        with suppress(termios.error):  # a closed terminal needs no restoring
            termios.tcsetattr(descriptor, termios.TCSAFLUSH, before)


def decode(read: bytes) -> tuple[list[Key], bytes]:
    """Return the known keys, and the incomplete sequence at the end."""
    begun = _BEGUN.search(read)
    whole, rest = (read[: begun.start()], begun[0]) if begun else (read, b"")
    return [_MEANING[one] for one in _ONE.findall(whole) if one in _MEANING], rest
