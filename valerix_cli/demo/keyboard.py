"""Single keys from a terminal, which is as it was before on every way out."""

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
"""The arrows, and Page Up and Page Down, which is what a presenter's remote sends."""

_ONE = re.compile(rb"\x1b[\[O][0-9;]*[A-Za-z~]|\x1b|[\xc0-\xff][\x80-\xbf]*|.", re.DOTALL)
_BEGUN = re.compile(rb"\x1b(?:[\[O][0-9;]*)?\Z")
_READ = 64


class Keyboard(Protocol):
    """The terminal that keys are read from."""

    def wait(self, seconds: float) -> list[Key]: ...


class Terminal:
    """The keyboard of the presenter."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._rest = b""

    def wait(self, seconds: float) -> list[Key]:
        """Return the key pressed, or None after the timeout. Raises SystemExit with 129 once the terminal is gone."""
        ready, _, _ = select.select([self._descriptor], [], [], seconds)
        if not ready:
            self._rest = b""  # an escape on its own, or one that was cut off: nothing of ours
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
    """Get keys as they are pressed, unseen; Ctrl-C stays a signal."""
    try:
        before = termios.tcgetattr(descriptor)
        tty.setcbreak(descriptor)
    except termios.error:  # it is gone already
        hang_up()
    try:
        yield Terminal(descriptor)
    finally:
        with suppress(termios.error):  # a terminal that was closed needs no restoring
            termios.tcsetattr(descriptor, termios.TCSAFLUSH, before)


def decode(read: bytes) -> tuple[list[Key], bytes]:
    """The keys that mean something, and what may be the beginning of one."""
    begun = _BEGUN.search(read)
    whole, rest = (read[: begun.start()], begun[0]) if begun else (read, b"")
    return [_MEANING[one] for one in _ONE.findall(whole) if one in _MEANING], rest
