"""What a run comes to: the gravest of its checks, in the order that the exit codes have."""

import msgspec
import pytest

from tests.unit.drills.samples import HELD, receipt
from valerix_cli.drills import verdict
from valerix_cli.drills.comparing import compare
from valerix_cli.drills.receipt import Check, Figures, Hit
from valerix_cli.errors import ExitCode

LIVE = Check("roll-back", "all faults are off", "missed", "gremlins may be live")
BROKEN = Check("audit", "no-oversell", "violated", "1 of 12 items break it")
MISSED = Check("faults", "p95 < 3s", "missed", "p95 was 3.1 s")
WORSE = Check("baseline", "not worse than r1", "missed", "p95 by more than 25%")
UNCLEAR = Check("faults", "fired: crash on 0 %", "not-measured", "injected 0 of 90")
NOT_COMPARED = Check("baseline", "not worse than r1", "not-measured", "within 25%")
ROLLED_BACK = Check("roll-back", "all faults are off", "held", "no gremlin is live")
UNSTEADY = Check("steady", "p95 < 300ms", "missed", "p95 was 400 ms")


@pytest.mark.parametrize(
    ("checks", "code"),
    [
        ([HELD], 0),
        ([HELD, UNCLEAR], 12),
        ([UNSTEADY], 12),
        ([UNCLEAR, WORSE], 14),
        ([WORSE, MISSED, UNCLEAR], 10),
        ([MISSED, BROKEN, WORSE], 11),
        ([NOT_COMPARED, HELD], 12),
        ([ROLLED_BACK], 12),
        ([ROLLED_BACK, HELD], 0),
        ([UNCLEAR, BROKEN, LIVE, MISSED], 13),
    ],
)
def test_the_gravest_check_decides(checks: list[Check], code: int) -> None:
    found = verdict.concluded(receipt(*checks), None, None)
    assert found.exit_code == code
    assert len(found.why) == sum(check.verdict != "held" for check in checks)


def test_zero_injected_is_never_green() -> None:
    assert verdict.concluded(receipt(HELD, UNCLEAR), None, None).outcome == "inconclusive"


def test_whoever_interrupts_gets_130_once_all_is_rolled_back_and_13_before() -> None:
    interrupted = verdict.concluded(receipt(HELD), ExitCode.INTERRUPTED, None)
    assert (interrupted.outcome, interrupted.exit_code) == ("interrupted", 130)
    assert verdict.concluded(receipt(LIVE), ExitCode.INTERRUPTED, None).exit_code == 13


def test_a_run_that_was_given_up_is_inconclusive_and_one_that_was_aborted_missed() -> None:
    given_up = verdict.concluded(receipt(HELD), None, "there is no steady state to break")
    assert (given_up.outcome, given_up.why) == ("inconclusive", ["there is no steady state to break"])
    aborted = Check("faults", "never error_rate > 60% for 5s", "missed", "it was so")
    assert verdict.concluded(receipt(HELD, aborted), None, "abort: error_rate > 60% for 5s").exit_code == 10


def test_a_figure_that_is_worse_than_the_baseline_by_more_than_the_tolerance_ends_with_14() -> None:
    slower = [Figures(phase="faults", seconds=27.0, measured={"p50": 0.01, "p95": 4.0, "throughput": 49.0})]
    found = compare(receipt(), receipt(figures=slower), 0.25)
    assert [one.metric for one in found.differences if one.worse] == ["faults p95"]
    assert verdict.with_baseline(receipt(figures=slower), found).exit_code == 14
    assert verdict.with_baseline(receipt(), compare(receipt(), receipt(), 0.0)).exit_code == 0
    assert [one.worse for one in compare(receipt(figures=slower), receipt(), 0.25).differences] == [False] * 5


def test_a_run_that_never_recovered_is_worse_than_one_that_did() -> None:
    found = compare(receipt(), receipt(recovered_after=None))
    assert [one.metric for one in found.differences if one.worse] == ["recovered after"]


def test_a_comparison_without_a_common_figure_says_nothing_and_a_lost_figure_is_named() -> None:
    nothing = receipt(figures=[], opened_after=None, recovered_after=None)
    found = compare(receipt(), nothing)
    assert {one.verdict for one in found.differences} == {"not compared", "WORSE"}, "it did not recover"
    assert verdict.with_baseline(nothing, found).exit_code == 14
    neither = compare(nothing, receipt())
    assert not neither.says_anything
    assert verdict.with_baseline(receipt(), neither).exit_code == 12
    lost = compare(receipt(), receipt(figures=[], opened_after=None))
    assert verdict.with_baseline(receipt(), lost).checks[-1].why == (
        "within 25%; not compared: faults p50, faults p95, faults throughput, breaker opened after"
    )


def test_a_replay_that_hit_nothing_again_shows_nothing_and_one_without_gremlins_has_nothing_to_hit() -> None:
    empty = receipt(hits=[])
    assert verdict.held_against(empty, empty).exit_code == 12
    struck = receipt(hits=[], injections=empty.injections[1:])
    assert verdict.held_against(struck, struck) == struck


def test_a_replay_has_to_hit_what_was_hit_and_nothing_else() -> None:
    before = receipt()
    assert verdict.held_against(before, before).exit_code == 0
    other = receipt(hits=[*before.hits[:1], Hit("88bb", 1, "crash")])
    missed = verdict.held_against(other, before)
    assert missed.exit_code == 10
    assert missed.checks[-1].why == "1 attempts again, 1 not, 1 others"
    assert verdict.held_against(receipt(hits_complete=False), before).exit_code == 12


def test_of_several_runs_the_gravest_counts() -> None:
    runs = [verdict.concluded(receipt(check), None, None) for check in (HELD, UNCLEAR, BROKEN, MISSED)]
    assert verdict.gravest(runs).exit_code == 11
    stopped = msgspec.structs.replace(receipt(), outcome="interrupted", exit_code=130)
    assert verdict.gravest([*runs, stopped]).exit_code == 130
