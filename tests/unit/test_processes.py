"""Waiting for a condition in tests."""

import pytest

from tests import machine_load, processes
from tests.processes import eventually


@pytest.fixture(autouse=True)
def no_least_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(processes.LEAST_WAIT, "seconds", 0.0)


def test_a_condition_that_stays_false_fails_with_its_last_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "slowdown", lambda: 1.0)
    with pytest.raises(AssertionError, match=r"not within 0.0 s: a result; last seen: \[\]"):
        eventually(list, 0.0, "a result")


def test_a_busy_machine_extends_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "slowdown", lambda: 1e6)
    looks = iter([False] * 3 + [True])
    assert eventually(lambda: next(looks), 0.001)


def test_the_load_of_a_machine_is_its_highest_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = iter([1.5, 3.0])
    monkeypatch.setattr(machine_load, "measure", lambda: next(measured, 1.2))
    monkeypatch.setattr(machine_load, "INTERVAL", 0.001)
    with machine_load.observed():
        eventually(lambda: machine_load.slowdown() == 3.0, 10.0)
        assert machine_load.slowdown() == 3.0
    assert machine_load.slowdown() == 1.2
