"""A step while it is played: it waits for conditions, and says so when one has not come about in time."""

import time
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.unit.demo.samples import picture
from valerix_cli.commands.demo import error_of, unable
from valerix_cli.demo.environment import DemoEnvironment
from valerix_cli.demo.model import Outcome, StepResult
from valerix_cli.demo.player import Performance
from valerix_cli.demo.script import STORY
from valerix_cli.demo.step_context import Abandoned, Missed, Step, StepContext, Violated
from valerix_cli.errors import CliError, ExitCode

SCENE = cast("DemoEnvironment", SimpleNamespace(here="export VALERIX_STATE_DIR=/here", item="monitor"))


def performed(act: Any, *, within: float = 0.05, leave: bool = False) -> tuple[StepResult, list[str]]:
    """What came of a step that does this, and what was told meanwhile."""
    heard: list[str] = []
    step = Step("a-step", "A step", "", "", ("HERE", "valerix order replay KEY", "valerix stock list"), within, act)
    performance = Performance(step, SCENE, heard.append)
    performance.begin()
    if leave:
        assert performance.leave()
    deadline = time.monotonic() + 5
    while not performance.is_over:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return performance.told, heard


def test_what_was_waited_for_is_returned_and_the_step_holds() -> None:
    looks = iter([None, None, "open"])

    def act(play: StepContext) -> None:
        play.see("breaker", play.until(lambda: next(looks), "the breaker to open"))

    told, heard = performed(act, within=5)
    assert (told.outcome, told.why) == ("held", None)
    assert heard == ["waiting for the breaker to open", "breaker: open"]


def test_a_condition_that_does_not_come_about_is_missed_and_what_was_seen_instead_is_said() -> None:
    told, _ = performed(lambda play: play.until(lambda: None, "the breaker to open", lambda: "order-1 closed"))
    assert told.outcome == "missed"
    assert told.why == "not within 50 ms: the breaker to open; seen instead: order-1 closed"


def test_a_step_that_is_left_ends_at_its_next_look() -> None:
    told, _ = performed(lambda play: play.until(lambda: None, "something"), within=60, leave=True)
    assert told.outcome == "skipped"
    assert told.seconds < 5


def test_a_step_that_has_been_left_begins_nothing_more() -> None:
    play = StepContext(SCENE, 60, lambda _: None)
    play.leave()
    with pytest.raises(Abandoned):
        play.go_on()


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (Missed("two orders"), "missed"),
        (Violated("deducted-means-ordered"), "violated"),
        (CliError("The order service does not answer.", "refused", "valerix status"), "missed"),
    ],
)
def test_a_step_ends_as_what_went_wrong_with_it(error: Exception, outcome: Outcome) -> None:
    def act(_: StepContext) -> None:
        raise error

    told, _ = performed(act)
    assert (told.outcome, told.why) == (outcome, str(error))


def test_commands_to_type_name_what_is_known_by_then() -> None:
    told, _ = performed(lambda play: play.know(KEY="demo-1"))
    assert told.by_hand == ["export VALERIX_STATE_DIR=/here", "valerix order replay demo-1", "valerix stock list"]


def test_a_step_that_a_platform_has_not_the_means_for_is_not_played_there() -> None:
    elsewhere = SimpleNamespace(
        session=SimpleNamespace(context=SimpleNamespace(name="staging")), processes=None, forgery=None, sources=None
    )
    why = {step.name: unable(step, cast("DemoEnvironment", elsewhere)) for step in STORY}
    assert {name for name, reason in why.items() if reason} == {"crash", "audit", "forged"}
    assert why["crash"] == "it kills a process, and `staging` is not on this machine"


def test_the_gravest_step_decides_how_the_command_ends() -> None:
    told = picture().told
    held, missed, violated, skipped = (
        StepResult(told.name, told.title, outcome, 1.0, "why", [], [])
        for outcome in cast("list[Outcome]", ["held", "missed", "violated", "skipped"])
    )
    assert error_of([held, skipped]) is None
    assert getattr(error_of([held, missed]), "code", None) == ExitCode.EXPECTATION
    assert getattr(error_of([missed, violated]), "code", None) == ExitCode.INVARIANT
