"""`valerix top` on a terminal, against a running platform."""

import os
import pty
import re
import signal
import subprocess
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import PATIENCE, PROGRAM, Valerix
from tests.processes import eventually

ALTERNATE_SCREEN, ORDINARY_SCREEN = "\x1b[?1049h", "\x1b[?1049l"
_STYLE = re.compile(r"\x1b\[[0-9;]*m")


class Terminal:
    """A terminal of 80 by 24 in which `valerix top` runs."""

    def __init__(self, valerix: Valerix, **environ: str) -> None:
        self._ours, self._theirs = pty.openpty()
        termios.tcsetwinsize(self._theirs, (24, 80))
        self.before = termios.tcgetattr(self._theirs)
        self._seen = b""
        os.set_blocking(self._ours, False)
        self.process = subprocess.Popen(
            [PROGRAM, "top"],
            stdin=self._theirs,
            stdout=self._theirs,
            stderr=self._theirs,
            cwd=valerix.directory,
            env=valerix.environ | {"TERM": "xterm", "COLUMNS": "80", "LINES": "24"} | environ,
        )

    @property
    def after(self) -> list[Any]:
        """The current settings of the terminal."""
        return termios.tcgetattr(self._theirs)

    def type(self, keys: str | bytes) -> None:
        os.write(self._ours, keys.encode() if isinstance(keys, str) else keys)

    @property
    def raw(self) -> str:
        with suppress(BlockingIOError):
            while part := os.read(self._ours, 65536):
                self._seen += part
        return self._seen.decode(errors="replace")

    def until_shown(self, *words: str) -> None:
        def shown() -> bool:
            text = _STYLE.sub("", self.raw)
            return all(word in text for word in words)

        eventually(shown, PATIENCE, f"{words} shown; so far:\n{self.raw[-3000:]}")

    def until_over(self) -> int:
        """Wait for the end and return the exit status."""
        eventually(lambda: (self.raw, self.process.poll() is not None)[1], PATIENCE)
        return int(self.process.returncode)

    def leave(self) -> None:
        """Close the terminal. No signal is sent, because it is not the program's controlling terminal."""
        os.close(self._ours)
        self._ours = -1

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        if self._ours >= 0:
            os.close(self._ours)
        os.close(self._theirs)


@contextmanager
def terminal(valerix: Valerix, **environ: str) -> Iterator[Terminal]:
    opened = Terminal(valerix, **environ)
    try:
        yield opened
    finally:
        opened.close()


def test_top_shows_the_platform_places_an_order_and_restores_the_terminal(valerix: Valerix) -> None:
    with terminal(valerix) as screen:
        screen.until_shown("inventory-1", "order-2", "worker-1", "postgres", "queued of 50,000", "No gremlin is live.")
        screen.type("o")
        screen.until_shown("Place an order on `local`")
        key = re.search(r"top-[0-9a-f-]{36}", screen.raw)
        assert key is not None
        screen.type("\r")
        screen.until_shown("» confirmed")
        screen.type("a")
        screen.until_shown("» replayed")
        screen.type("q")
        assert screen.until_over() == 0
        assert ALTERNATE_SCREEN in screen.raw
        assert ORDINARY_SCREEN in screen.raw.rpartition(ALTERNATE_SCREEN)[2]
        assert screen.after == screen.before
    sends = valerix.json("order", "replay", key[0])
    assert (len(sends["order_ids"]), sends["deductions"]) == (1, 1)


@pytest.mark.parametrize(
    ("number", "code"),
    [(None, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
    ids=["ctrl-c", "terminated", "hung-up"],
)
def test_top_restores_the_terminal_when_it_is_signalled(
    valerix: Valerix, number: signal.Signals | None, code: int
) -> None:
    with terminal(valerix, NO_COLOR="1") as screen:
        screen.until_shown("inventory-1")
        if number is None:
            screen.type("\x03")
        else:
            screen.process.send_signal(number)
        assert screen.until_over() == code
        assert ORDINARY_SCREEN in screen.raw
        assert screen.after == screen.before
        assert "Traceback" not in screen.raw


def test_top_exits_when_its_terminal_is_lost(valerix: Valerix) -> None:
    with terminal(valerix) as screen:
        screen.until_shown("inventory-1")
        screen.leave()
        assert screen.process.wait(PATIENCE) == 129


def test_undecodable_input_bytes_are_ignored(valerix: Valerix) -> None:
    with terminal(valerix) as screen:
        screen.until_shown("inventory-1")
        screen.type(b"\xff\xfe\x9ao")
        screen.until_shown("Place an order on `local`")
        screen.type("\x03")
        assert screen.until_over() == 130
        assert "Traceback" not in screen.raw


def test_top_without_colours_sends_no_colour_codes(valerix: Valerix) -> None:
    with terminal(valerix, NO_COLOR="1") as screen:
        screen.until_shown("inventory-1", "order-1  closed")
        colours = {code for codes in re.findall(r"\x1b\[([0-9;]+)m", screen.raw) for code in codes.split(";")}
        assert colours <= {"0", "1", "2", "7", "22", "27", "39", "49"}
        screen.type("q")
        assert screen.until_over() == 0


def test_top_needs_a_terminal(valerix: Valerix) -> None:
    done = valerix("top", code=2)
    assert done.err.splitlines()[0] == "Error: top needs a terminal."
    assert done.err.splitlines()[2] == "  try: valerix status --watch"


def test_top_refuses_a_terminal_without_cursor_movement(valerix: Valerix) -> None:
    with terminal(valerix, TERM="dumb") as screen:
        assert screen.until_over() == 2
        assert "TERM is dumb" in screen.raw


def test_top_without_a_platform_exits_with_3(valerix: Valerix, tmp_path: Path) -> None:
    with terminal(valerix, VALERIX_STATE_DIR=str(tmp_path)) as screen:
        assert screen.until_over() == 3
        assert "valerix up --detach" in screen.raw
        assert ALTERNATE_SCREEN not in screen.raw
