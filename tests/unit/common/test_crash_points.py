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


def settings_with(**variables: str) -> InventorySettings:
    return read(InventorySettings, ENVIRON | {f"VALERIX_{name}": value for name, value in variables.items()})


def armed(**variables: str) -> None:
    arm(settings_with(CRASH_AT="after-commit", CHAOS_ALLOWED="1", **variables), POINTS)


def test_a_crash_point_kills_by_default(struck: list[signal.Signals]) -> None:
    armed()
    crash_point("before-commit")
    assert struck == []
    crash_point("after-insert", "after-commit")
    assert struck == [signal.SIGKILL]


def test_a_crash_point_stops_a_process_only_once(struck: list[signal.Signals]) -> None:
    armed(CRASH_SIGNAL="stop")
    for _ in range(3):
        crash_point("after-commit")
    assert struck == [signal.SIGSTOP]


def test_a_crash_point_skips_the_configured_number_of_passes(struck: list[signal.Signals]) -> None:
    armed(CRASH_SKIP="2")
    for passed in range(3):
        assert struck == [], f"after {passed} passes"
        crash_point("before-commit")
        crash_point("after-commit")
    assert struck == [signal.SIGKILL]


def test_crash_options_have_no_effect_without_a_crash_point(struck: list[signal.Signals]) -> None:
    arm(settings_with(CRASH_SIGNAL="stop", CRASH_SKIP="1"), POINTS)
    for _ in range(3):
        crash_point("before-commit")
        crash_point("after-commit")
    assert struck == []


@pytest.mark.parametrize(("name", "value"), [("CRASH_SIGNAL", "hurt"), ("CRASH_SKIP", "-1"), ("CRASH_SKIP", "once")])
def test_an_invalid_signal_or_skip_count_is_reported(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"VALERIX_{name} "):
        settings_with(**{name: value})
