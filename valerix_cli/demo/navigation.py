"""The effect of each key. Pure."""

from typing import Literal

import msgspec

Key = Literal["next", "back", "retry", "skip", "notes", "quit"]


class Move(msgspec.Struct, frozen=True):
    """The step to show next; one past the last is the end.

    `play`: run it, or run it again; `leave`: abandon the step in progress.
    `hint` explains a key that had no effect.
    """

    to: int
    play: bool = False
    leave: bool = False
    notes: bool = False
    hint: str | None = None


def decide(key: Key, at: int, count: int, *, under_way: bool, finished: frozenset[int]) -> Move:
    """Decide the effect of a key; `finished` are the steps that have run, `at` is the current one."""
    match key:
        case "notes":
            return Move(at, notes=True)
        case "quit":
            return Move(count, leave=under_way)
        case "next" | "back" | "retry" if under_way:
            return Move(at, hint="still under way: s skips it, q quits")
        case "next" | "skip":
            return Move(at + 1, play=at + 1 < count and at + 1 not in finished, leave=under_way)
        case "retry":
            return Move(at, play=True)
        case "back":
            return Move(max(at - 1, 0), hint=None if at else "this is the first step")
