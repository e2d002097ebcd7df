"""A running step waits for conditions, and reports those that do not hold in time."""

import time
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.unit.demo.samples import frame
from valerix_cli.commands.demo import error_of, reason_to_skip
from valerix_cli.demo.environment import DemoEnvironment
from valerix_cli.demo.model import Outcome, StepResult
from valerix_cli.demo.player import StepRun
from valerix_cli.demo.script import STORY
from valerix_cli.demo.step_context import ExpectationMissed, InvariantViolated, Step, StepCancelled, StepContext
from valerix_cli.errors import CliError, ExitCode

SCENE = cast("DemoEnvironment", SimpleNamespace(command_prefix="export VALERIX_STATE_DIR=/here", item="monitor"))


def run_step(act: Any, *, timeout: float = 0.05, leave: bool = False) -> tuple[StepResult, list[str]]:
    """Run a step with this function; return its result and its messages."""
    heard: list[str] = []
    step = Step("a-step", "A step", "", "", ("HERE", "valerix order replay KEY", "valerix stock list"), timeout, act)
    step_run = StepRun(step, SCENE, heard.append)
    step_run.begin()
    if leave:
        assert step_run.leave()
    deadline = time.monotonic() + 5
    while not step_run.is_over:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return step_run.result, heard


def test_a_wait_returns_the_awaited_value_and_the_step_passes() -> None:
    looks = iter([None, None, "open"])

    def act(context: StepContext) -> None:
        context.add_fact("breaker", context.wait_for(lambda: next(looks), "the breaker to open"))

    result, heard = run_step(act, timeout=5)
    assert (result.outcome, result.why) == ("held", None)
    assert heard == ["waiting for the breaker to open", "breaker: open"]


def test_an_unmet_condition_misses_the_step_with_the_last_observation() -> None:
    result, _ = run_step(
        lambda context: context.wait_for(lambda: None, "the breaker to open", lambda: "order-1 closed")
    )
    assert result.outcome == "missed"
    assert result.why == "not within 50 ms: the breaker to open; seen instead: order-1 closed"


def test_a_left_step_ends_at_its_next_poll() -> None:
    result, _ = run_step(lambda context: context.wait_for(lambda: None, "something"), timeout=60, leave=True)
    assert result.outcome == "skipped"
    assert result.seconds < 5


def test_a_left_step_starts_nothing_more() -> None:
    context = StepContext(SCENE, 60, lambda _: None)
    context.leave()
    with pytest.raises(StepCancelled):
        context.raise_if_cancelled()


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (ExpectationMissed("two orders"), "missed"),
        (InvariantViolated("deducted-means-ordered"), "violated"),
        (CliError("The order service is unreachable.", "refused", "valerix status"), "missed"),
    ],
)
def test_the_error_of_a_step_decides_its_outcome(error: Exception, outcome: Outcome) -> None:
    def act(_: StepContext) -> None:
        raise error

    result, _ = run_step(act)
    assert (result.outcome, result.why) == (outcome, str(error))


def test_shown_commands_contain_known_values() -> None:
    result, _ = run_step(lambda context: context.set_placeholders(KEY="demo-1"))
    assert result.by_hand == ["export VALERIX_STATE_DIR=/here", "valerix order replay demo-1", "valerix stock list"]


def test_a_step_unsupported_by_the_platform_is_not_played() -> None:
    elsewhere = SimpleNamespace(
        session=SimpleNamespace(context=SimpleNamespace(name="staging")),
        processes=None,
        local_tampering=None,
        sources=None,
    )
    why = {step.name: reason_to_skip(step, cast("DemoEnvironment", elsewhere)) for step in STORY}
    assert {name for name, reason in why.items() if reason} == {"crash", "audit", "forged"}
    assert why["crash"] == "it kills a process, and `staging` is not on this machine"


def test_the_worst_step_decides_the_exit_code() -> None:
    result = frame().result
    held, missed, violated, skipped = (
        StepResult(result.name, result.title, outcome, 1.0, "why", [], [])
        for outcome in cast("list[Outcome]", ["held", "missed", "violated", "skipped"])
    )
    assert error_of([held, skipped]) is None
    assert getattr(error_of([held, missed]), "code", None) == ExitCode.EXPECTATION
    assert getattr(error_of([missed, violated]), "code", None) == ExitCode.INVARIANT
