"""Keys as a terminal sends them, and restoring the terminal's settings."""

import os
import pty
import termios

import pytest

from valerix_cli.demo.keyboard import decode, single_keys
from valerix_cli.demo.navigation import Key


@pytest.mark.parametrize(
    ("read", "keys"),
    [
        (b"n", ["next"]),
        (b" ", ["next"]),
        (b"\r", ["next"]),
        (b"\x1b[C", ["next"]),
        (b"\x1bOC", ["next"]),
        (b"\x1b[6~", ["next"]),
        (b"b", ["back"]),
        (b"\x1b[D", ["back"]),
        (b"\x1b[5~", ["back"]),
        (b"\x7f", ["back"]),
        (b"rstq", ["retry", "skip", "notes", "quit"]),
        (b"\x04", ["quit"]),
        (b"x\xc3\xa9\x1b[1;5C\x1b[A", []),
        ("ñn".encode(), ["next"]),
        (b"\x1bn", ["next"]),
    ],
)
def test_what_a_terminal_sends_is_a_key_or_nothing(read: bytes, keys: list[Key]) -> None:
    assert decode(read) == (keys, b"")


def test_a_key_that_comes_in_two_pieces_is_one() -> None:
    keys, rest = decode(b"n\x1b[")
    assert (keys, rest) == (["next"], b"\x1b[")
    assert decode(rest + b"6~") == (["next"], b"")


def test_keys_come_singly_and_unseen_and_the_terminal_is_as_before_afterwards() -> None:
    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    with pytest.raises(KeyboardInterrupt):
        press_and_interrupt(ours, theirs)
    assert termios.tcgetattr(theirs) == before
    os.close(ours)
    os.close(theirs)


def press_and_interrupt(ours: int, theirs: int) -> None:
    with single_keys(theirs) as terminal:
        local = termios.tcgetattr(theirs)[3]
        assert not local & (termios.ICANON | termios.ECHO)
        assert local & termios.ISIG  # Ctrl-C stays a signal
        os.write(ours, b"n")
        assert terminal.wait(5) == ["next"]
        assert terminal.wait(0) == []
        raise KeyboardInterrupt
