"""Effects of keys during the demo."""

import pytest

from valerix_cli.demo.navigation import Key, Move, decide


def at_rest(key: Key, at: int, finished: set[int]) -> Move:
    return decide(key, at, 3, under_way=False, finished=frozenset(finished))


def under_way(key: Key) -> Move:
    return decide(key, 1, 3, under_way=True, finished=frozenset({0}))


def test_next_plays_a_step_that_was_not_played() -> None:
    assert at_rest("next", 0, {0}) == Move(1, play=True)


def test_next_shows_a_played_step_without_playing_it() -> None:
    assert at_rest("next", 0, {0, 1}) == Move(1)


def test_next_after_the_last_step_is_the_end() -> None:
    assert at_rest("next", 2, {0, 1, 2}) == Move(3)


def test_back_shows_the_step_before_and_plays_nothing() -> None:
    assert at_rest("back", 1, {0, 1}) == Move(0)


def test_there_is_nothing_before_the_first_step() -> None:
    assert at_rest("back", 0, {0}) == Move(0, hint="this is the first step")


def test_retry_plays_a_step_again() -> None:
    assert at_rest("retry", 1, {0, 1}) == Move(1, play=True)


@pytest.mark.parametrize("key", ["next", "back", "retry"])
def test_a_running_step_is_not_left_by_accident(key: Key) -> None:
    move = under_way(key)
    assert (move.to, move.play, move.leave) == (1, False, False)
    assert move.hint is not None


def test_skip_leaves_a_running_step_and_plays_the_next() -> None:
    assert under_way("skip") == Move(2, play=True, leave=True)


def test_skip_without_a_running_step_plays_the_next() -> None:
    assert at_rest("skip", 1, {0, 1}) == Move(2, play=True)


def test_quit_leaves_a_running_step() -> None:
    assert under_way("quit") == Move(3, leave=True)
    assert at_rest("quit", 0, {0}) == Move(3)


def test_notes_change_nothing_else() -> None:
    assert under_way("notes") == Move(1, notes=True)
