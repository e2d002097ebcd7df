"""States that an operator forces on the breaker, and the reasons of its transitions."""

from tests.unit.order.observed_breaker import Observed, on_trial, opened


def test_a_forced_open_breaker_rejects_every_call() -> None:
    seen = Observed()
    seen.breaker.force("open")
    for _ in range(3):
        assert seen.rejected().retry_in == 10
        seen.clock.go_on(60)
        seen.breaker.tick()
    assert seen.breaker.retry_in() == 10


def test_a_forced_closed_breaker_admits_every_call_despite_failures() -> None:
    seen = opened()
    seen.breaker.force("closed")
    seen.fail(50)
    assert seen.state == "closed"
    assert seen.breaker.retry_in() == 0
    assert seen.breaker.window.outcomes() == {"timeout": 50}


def test_an_automatic_breaker_starts_closed_and_forgets_calls_under_force() -> None:
    seen = Observed()
    seen.breaker.force("closed")
    late = [seen.breaker.admit() for _ in range(10)]
    seen.fail(50)
    seen.breaker.force(None)
    for permit in late:
        permit.fail("timeout")
    seen.fail(4)
    assert seen.state == "closed"
    seen.fail()
    assert seen.state == "open"


def test_forcing_the_same_state_again_changes_nothing() -> None:
    seen = Observed()
    seen.breaker.force(None)
    assert seen.transitions == []
    seen.breaker.force("open")
    seen.breaker.force("open")
    assert len(seen.transitions) == 1


def test_a_running_trial_decides_nothing_after_an_operator_forces_a_state() -> None:
    seen, trial = on_trial()
    seen.breaker.force("closed")
    seen.breaker.force(None)
    trial.fail("timeout")
    assert seen.state == "closed"
    assert seen.breaker.window.outcomes() == {}


def test_transitions_have_readable_reasons() -> None:
    seen = Observed()
    seen.succeed(4)
    seen.fail(1, "500")
    seen.fail(3)
    assert str(seen.rejected()) == "4 of 8 calls failed in 10 s (3 timeouts, 1 × 500)"
    seen.clock.go_on(10)
    seen.breaker.tick()
    trial = seen.breaker.admit()
    assert str(seen.rejected()) == "half-open, a trial call is in flight"
    trial.fail("lost answer")
    seen.clock.go_on(10)
    seen.succeed()
    seen.breaker.force("open")
    assert str(seen.rejected()) == "forced open by an operator"
    seen.breaker.force("closed")
    seen.breaker.force(None)
    assert [transition.reason for transition in seen.transitions] == [
        "4 of 8 calls failed in 10 s (3 timeouts, 1 × 500)",
        "10 s have passed, the next call is a trial",
        "the trial call failed (lost answer)",
        "10 s have passed, the next call is a trial",
        "the trial call succeeded",
        "forced open by an operator",
        "forced closed by an operator",
        "set to automatic by an operator",
    ]
    assert [transition.to for transition in seen.transitions[-3:]] == ["open", "closed", "closed"]
