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
def test_terminal_input_is_decoded_as_keys(read: bytes, keys: list[Key]) -> None:
    assert decode(read) == (keys, b"")


def test_a_key_read_in_two_pieces_is_one_key() -> None:
    keys, rest = decode(b"n\x1b[")
    assert (keys, rest) == (["next"], b"\x1b[")
    assert decode(rest + b"6~") == (["next"], b"")


def test_keys_are_read_singly_without_echo_and_the_terminal_is_restored() -> None:
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
