"""Crash points: the process that they strike, the signal, and the number of times."""

import os
import signal

import pytest

from services.common.crash_points import arm, crash_point
from services.common.settings import SettingsError, read
from services.inventory.settings import InventorySettings
from tests.unit.common.environment import ENVIRON

POINTS = frozenset({"before-commit", "after-commit"})


@pytest.fixture
def struck(monkeypatch: pytest.MonkeyPatch) -> list[signal.Signals]:
    """The signals that this process would have sent to itself."""
    signals: list[signal.Signals] = []

    def note(pid: int, number: signal.Signals) -> None:
        assert pid == os.getpid()
        signals.append(number)

    monkeypatch.setattr(os, "kill", note)
    return signals


def told(**variables: str) -> InventorySettings:
    return read(InventorySettings, ENVIRON | {f"VALERIX_{name}": value for name, value in variables.items()})


def armed(**variables: str) -> None:
    arm(told(CRASH_AT="after-commit", CHAOS_ALLOWED="1", **variables), POINTS)


def test_it_kills_unless_told_otherwise(struck: list[signal.Signals]) -> None:
    armed()
    crash_point("before-commit")
    assert struck == []
    crash_point("after-insert", "after-commit")
    assert struck == [signal.SIGKILL]


def test_it_stops_once_so_that_a_process_that_is_woken_goes_on(struck: list[signal.Signals]) -> None:
    armed(CRASH_SIGNAL="stop")
    for _ in range(3):
        crash_point("after-commit")
    assert struck == [signal.SIGSTOP]


def test_it_lets_by_as_many_passes_as_it_is_told(struck: list[signal.Signals]) -> None:
    armed(CRASH_SKIP="2")
    for passed in range(3):
        assert struck == [], f"after {passed} passes"
        crash_point("before-commit")
        crash_point("after-commit")
    assert struck == [signal.SIGKILL]


def test_how_it_strikes_means_nothing_without_where(struck: list[signal.Signals]) -> None:
    arm(told(CRASH_SIGNAL="stop", CRASH_SKIP="1"), POINTS)
    for _ in range(3):
        crash_point("before-commit")
        crash_point("after-commit")
    assert struck == []


@pytest.mark.parametrize(("name", "value"), [("CRASH_SIGNAL", "hurt"), ("CRASH_SKIP", "-1"), ("CRASH_SKIP", "once")])
def test_what_is_neither_a_signal_nor_a_number_of_passes_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"VALERIX_{name} "):
        told(**{name: value})
