"""The recent states of a breaker."""

from tests.unit.cli.samples import later
from tests.unit.top.samples import moved, replica
from valerix_cli.top.timeline import MARKS, timeline


def drawn(*history: tuple[float, str, str], state: str = "closed", seconds: float = 1.0) -> str:
    one = replica(state=state, since=later(history[-1][0]) if history else later(-3600))
    moves = [moved(*each) for each in reversed(history)]
    return "".join(MARKS[cell] for cell in timeline(one, moves, later(0), cells=10, seconds=seconds))


def test_a_breaker_without_transitions_was_always_closed() -> None:
    assert drawn() == "▁" * 10


def test_the_timeline_shows_each_transition_in_order() -> None:
    moves = ((-7.5, "closed", "open"), (-4.5, "open", "half-open"), (-3.5, "half-open", "closed"))
    assert drawn(*moves) == "▁▁███▄▄▁▁▁"


def test_a_trial_of_milliseconds_is_visible_between_two_open_periods() -> None:
    moves = ((-9.5, "closed", "open"), (-4.5, "open", "half-open"), (-4.495, "half-open", "open"))
    assert drawn(*moves, state="open") == "█████▄████"


def test_a_character_may_cover_two_seconds() -> None:
    assert drawn((-7.5, "closed", "open"), state="open", seconds=2.0) == "▁▁▁▁▁▁████"


def test_the_timeline_is_unknown_before_a_replica_started() -> None:
    young = replica(since=later(-3.5))
    cells = timeline(young, [], later(0), cells=10, seconds=1.0)
    assert cells == [None] * 6 + ["closed"] * 4


def test_transitions_of_other_replicas_are_ignored() -> None:
    other = moved(-5, "closed", "open", name="order-2")
    assert set(timeline(replica(), [other], later(0), cells=10, seconds=1.0)) == {"closed"}


def test_the_current_state_of_a_replica_overrides_an_incomplete_history() -> None:
    """It was restarted after it had opened, and Redis still has the state before the restart."""
    again = replica(state="closed", since=later(-2.5))
    cells = timeline(again, [moved(-6.5, "closed", "open")], later(0), cells=10, seconds=1.0)
    assert "".join(MARKS[cell] for cell in cells) == "▁▁▁█████▁▁"
