"""What a run comes to: the gravest of its checks, in the order that the exit codes have."""

import msgspec
import pytest

from tests.unit.drills.samples import HELD, receipt
from valerix_cli.drills import verdict
from valerix_cli.drills.comparing import compare
from valerix_cli.drills.receipt import Check, Figures, Hit, Receipt
from valerix_cli.drills.watching import Sighting
from valerix_cli.errors import ExitCode

LIVE = Check("roll-back", "all faults are off", "missed", "gremlins may be live")
BROKEN = Check("audit", "no-oversell", "violated", "1 of 12 items break it")
MISSED = Check("faults", "p95 < 3s", "missed", "p95 was 3.1 s")
WORSE = Check("baseline", "not worse than r1", "missed", "p95 by more than 25%")
UNCLEAR = Check("faults", "fired: crash on 0 %", "not-measured", "injected 0 of 90")
NOT_COMPARED = Check("baseline", "not worse than r1", "not-measured", "within 25%")
ROLLED_BACK = Check("roll-back", "all faults are off", "held", "no gremlin is live")
NAMES = "breaker opened after, recovered after, faults p50, faults p95, faults throughput"
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


def test_why_begins_with_what_a_run_was_given_up_for() -> None:
    given_up = verdict.concluded(receipt(HELD, UNSTEADY), None, "the platform is not in a steady state")
    assert given_up.why == ["the platform is not in a steady state", "steady: p95 < 300ms: p95 was 400 ms"]


def test_a_receipt_that_is_concluded_again_keeps_its_checks_its_end_and_its_reasons() -> None:
    found = compare(receipt(), receipt(recovered_after=None))
    interrupted = verdict.concluded(receipt(HELD, UNCLEAR), ExitCode.TERMINATED, None)
    again = verdict.with_baseline(interrupted, found)
    assert (again.outcome, again.exit_code, again.checks[:2]) == ("interrupted", 143, [HELD, UNCLEAR])
    given_up = verdict.concluded(receipt(HELD), None, "the platform is not in a steady state")
    nothing = compare(receipt(figures=[], opened_after=None, recovered_after=None), receipt())
    assert verdict.with_baseline(given_up, nothing).why == [
        "the platform is not in a steady state",
        f"baseline: not worse than {receipt().run}: no figure was measured in both runs; not compared: {NAMES}",
    ]
    worse = verdict.with_baseline(given_up, found)
    assert (worse.exit_code, worse.why[-1].rpartition(": ")[2]) == (14, "recovered after by more than 25%")
    assert verdict.with_baseline(receipt(), compare(receipt(), receipt())).checks[-1].why == "within 25%"


def test_how_it_goes_is_said_in_a_line() -> None:
    seen = Sighting(1.0, {"order-1": "open"}, None, 7, 1.0, 0, None)
    measured = {"throughput": 50.0, "p50": 0.02, "p95": None, "error_rate": 0.0}
    assert verdict.in_short(measured, seen) == (
        "throughput 50.0/s, p50 20.0 ms, error_rate 0.00%, breaker open, backlog 7"
    )
    blind = msgspec.structs.replace(seen, breakers=None, backlog=None)
    assert verdict.in_short(dict.fromkeys(measured), blind) == "breaker not known, backlog not known"
    assert verdict.in_short(dict.fromkeys(measured), None) == ""


def test_zero_injected_is_never_green() -> None:
    assert verdict.concluded(receipt(HELD, UNCLEAR), None, None).outcome == "inconclusive"


def test_whoever_interrupts_gets_130_once_all_is_rolled_back_and_13_before() -> None:
    interrupted = verdict.concluded(receipt(HELD), ExitCode.INTERRUPTED, None)
    assert (interrupted.outcome, interrupted.exit_code) == ("interrupted", 130)
    assert verdict.concluded(receipt(LIVE), ExitCode.INTERRUPTED, None).exit_code == 13


def test_a_run_that_was_given_up_is_inconclusive_and_one_that_was_aborted_missed() -> None:
    given_up = verdict.concluded(receipt(HELD), None, "the platform is not in a steady state")
    assert (given_up.outcome, given_up.why) == ("inconclusive", ["the platform is not in a steady state"])
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
    assert verdict.held_against(empty, struck).exit_code == verdict.held_against(struck, empty).exit_code == 12


def test_a_replay_has_to_hit_what_was_hit_and_nothing_else() -> None:
    before = receipt()
    again = verdict.held_against(before, before)
    assert (again.exit_code, again.checks[-1].why) == (0, "2 attempts again")
    fewer = verdict.held_against(receipt(hits=before.hits[:1]), before)
    assert (fewer.exit_code, fewer.checks[-1].why) == (10, "1 attempts again, 1 not, 0 others")
    more = verdict.held_against(before, receipt(hits=before.hits[:1]))
    assert (more.exit_code, more.checks[-1].why) == (10, "1 attempts again, 0 not, 1 others")
    assert verdict.held_against(before, receipt(hits_complete=False)).exit_code == 12
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


def measured(name: str, value: float | None) -> Receipt:
    """A run of which one figure is known."""
    if name in ("opened", "recovered"):
        return receipt(figures=[], **{"opened_after": None, "recovered_after": None} | {f"{name}_after": value})
    phase = [Figures(phase="faults", seconds=9.0, measured={name: value})]
    return receipt(figures=phase, opened_after=None, recovered_after=None)


@pytest.mark.parametrize(
    ("name", "before", "now", "said"),
    [
        ("p95", 1.0, 1.299, "ok"),  # a quarter, and 50 ms that never matter
        ("p95", 1.0, 1.31, "WORSE"),
        ("p95", 1.0, 0.1, "ok"),
        ("p95", 0.01, 0.06, "ok"),
        ("p50", 0.01, 0.0325, "ok"),
        ("p50", 0.01, 0.033, "WORSE"),
        ("p99", 1.0, 1.349, "ok"),
        ("p99", 1.0, 1.36, "WORSE"),
        ("error_rate", 0.0, 0.001, "ok"),
        ("error_rate", 0.0, 0.002, "WORSE"),
        ("throughput", 50.0, 37.5, "ok"),
        ("throughput", 50.0, 37.4, "WORSE"),
        ("throughput", 50.0, 500.0, "ok"),
        ("opened", 8.0, 12.0, "ok"),
        ("opened", 8.0, 12.1, "WORSE"),
        ("opened", 8.0, None, "not compared"),
        ("opened", None, 8.0, "not compared"),
        ("recovered", 8.0, None, "WORSE"),
        ("recovered", None, 8.0, "not compared"),
        ("p95", 1.0, None, "not compared"),
        ("p95", None, 1.0, "not compared"),
    ],
)
def test_a_figure_is_worse_beyond_the_tolerance_and_what_never_matters(
    name: str, before: float | None, now: float | None, said: str
) -> None:
    found = compare(measured(name, before), measured(name, now), 0.25)
    (one,) = [one for one in found.differences if one.baseline is not None or one.now is not None]
    assert one.verdict == said
    assert one.is_missing is (said == "not compared")
    assert one.worse is (said == "WORSE")
    assert found.says_anything is (before is not None and now is not None)
    assert one.change == (None if not before or now is None else pytest.approx(now / before - 1))


def test_only_figures_that_matter_are_compared() -> None:
    found = compare(measured("orders", 9.0), measured("orders", 1.0))
    assert {one.metric for one in found.differences} == {"breaker opened after", "recovered after"}
    nobody = compare(measured("p95", None), measured("p95", None))
    assert [one.is_missing for one in nobody.differences] == [False] * 3
    assert [one.verdict for one in nobody.differences] == ["not compared"] * 3
