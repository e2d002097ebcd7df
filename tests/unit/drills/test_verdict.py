"""The outcome of a run is that of its worst check, in the order of the exit codes."""

import msgspec
import pytest

from tests.unit.drills.samples import HELD, receipt
from valerix_cli.drills import verdict
from valerix_cli.drills.compare import compare
from valerix_cli.drills.monitor import Sample
from valerix_cli.drills.receipt import Check, Hit, PhaseMetrics, Receipt
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
def test_the_worst_check_decides_the_outcome(checks: list[Check], code: int) -> None:
    found = verdict.conclude(receipt(*checks), None, None)
    assert found.exit_code == code
    assert len(found.why) == sum(check.verdict != "held" for check in checks)


def test_the_reason_for_an_early_end_comes_first() -> None:
    given_up = verdict.conclude(receipt(HELD, UNSTEADY), None, "the platform is not in a steady state")
    assert given_up.why == ["the platform is not in a steady state", "steady: p95 < 300ms: p95 was 400 ms"]


def test_a_receipt_with_another_check_keeps_its_checks_outcome_and_reasons() -> None:
    found = compare(receipt(), receipt(recovered_after=None))
    interrupted = verdict.conclude(receipt(HELD, UNCLEAR), ExitCode.TERMINATED, None)
    again = verdict.add_comparison(interrupted, found)
    assert (again.outcome, again.exit_code, again.checks[:2]) == ("interrupted", 143, [HELD, UNCLEAR])
    given_up = verdict.conclude(receipt(HELD), None, "the platform is not in a steady state")
    nothing = compare(receipt(figures=[], opened_after=None, recovered_after=None), receipt())
    assert verdict.add_comparison(given_up, nothing).why == [
        "the platform is not in a steady state",
        f"baseline: not worse than {receipt().run}: no figure was measured in both runs; not compared: {NAMES}",
    ]
    worse = verdict.add_comparison(given_up, found)
    assert (worse.exit_code, worse.why[-1].rpartition(": ")[2]) == (14, "recovered after by more than 25%")
    assert verdict.add_comparison(receipt(), compare(receipt(), receipt())).checks[-1].why == "within 25%"


def test_progress_is_one_line() -> None:
    sample = Sample(1.0, {"order-1": "open"}, None, 7, 1.0, 0, None)
    measured = {"throughput": 50.0, "p50": 0.02, "p95": None, "error_rate": 0.0}
    assert verdict.progress_line(measured, sample) == (
        "throughput 50.0/s, p50 20.0 ms, error_rate 0.00%, breaker open, backlog 7"
    )
    unreadable = msgspec.structs.replace(sample, breakers=None, backlog=None)
    assert verdict.progress_line(dict.fromkeys(measured), unreadable) == "breaker not known, backlog not known"
    assert verdict.progress_line(dict.fromkeys(measured), None) == ""


def test_a_run_without_hits_never_passes() -> None:
    assert verdict.conclude(receipt(HELD, UNCLEAR), None, None).outcome == "inconclusive"


def test_an_interruption_exits_with_130_if_rolled_back_and_13_if_not() -> None:
    interrupted = verdict.conclude(receipt(HELD), ExitCode.INTERRUPTED, None)
    assert (interrupted.outcome, interrupted.exit_code) == ("interrupted", 130)
    assert verdict.conclude(receipt(LIVE), ExitCode.INTERRUPTED, None).exit_code == 13


def test_an_early_end_is_inconclusive_and_an_abort_condition_missed() -> None:
    given_up = verdict.conclude(receipt(HELD), None, "the platform is not in a steady state")
    assert (given_up.outcome, given_up.why) == ("inconclusive", ["the platform is not in a steady state"])
    aborted = Check("faults", "never error_rate > 60% for 5s", "missed", "it was so")
    assert verdict.conclude(receipt(HELD, aborted), None, "abort: error_rate > 60% for 5s").exit_code == 10


def test_a_metric_worse_than_the_baseline_exits_with_14() -> None:
    slower = [PhaseMetrics(phase="faults", seconds=27.0, measured={"p50": 0.01, "p95": 4.0, "throughput": 49.0})]
    found = compare(receipt(), receipt(figures=slower), 0.25)
    assert [one.metric for one in found.differences if one.worse] == ["faults p95"]
    assert verdict.add_comparison(receipt(figures=slower), found).exit_code == 14
    assert verdict.add_comparison(receipt(), compare(receipt(), receipt(), 0.0)).exit_code == 0
    assert [one.worse for one in compare(receipt(figures=slower), receipt(), 0.25).differences] == [False] * 5


def test_a_run_that_never_recovered_is_worse_than_one_that_did() -> None:
    found = compare(receipt(), receipt(recovered_after=None))
    assert [one.metric for one in found.differences if one.worse] == ["recovered after"]


def test_a_comparison_without_a_common_metric_is_inconclusive() -> None:
    nothing = receipt(figures=[], opened_after=None, recovered_after=None)
    found = compare(receipt(), nothing)
    assert {one.verdict for one in found.differences} == {"not compared", "WORSE"}, "it did not recover"
    assert verdict.add_comparison(nothing, found).exit_code == 14
    neither = compare(nothing, receipt())
    assert not neither.has_common_metric
    assert verdict.add_comparison(receipt(), neither).exit_code == 12
    lost = compare(receipt(), receipt(figures=[], opened_after=None))
    assert verdict.add_comparison(receipt(), lost).checks[-1].why == (
        "within 25%; not compared: faults p50, faults p95, faults throughput, breaker opened after"
    )


def test_a_replay_without_hits_is_inconclusive_and_without_gremlins_unchanged() -> None:
    empty = receipt(hits=[])
    assert verdict.compare_hits(empty, empty).exit_code == 12
    without_gremlins = receipt(hits=[], injections=empty.injections[1:])
    assert verdict.compare_hits(without_gremlins, without_gremlins) == without_gremlins
    assert (
        verdict.compare_hits(empty, without_gremlins).exit_code
        == verdict.compare_hits(without_gremlins, empty).exit_code
        == 12
    )


def test_a_replay_has_to_hit_exactly_the_same_attempts() -> None:
    before = receipt()
    again = verdict.compare_hits(before, before)
    assert (again.exit_code, again.checks[-1].why) == (0, "2 attempts again")
    fewer = verdict.compare_hits(receipt(hits=before.hits[:1]), before)
    assert (fewer.exit_code, fewer.checks[-1].why) == (10, "1 attempts again, 1 not, 0 others")
    more = verdict.compare_hits(before, receipt(hits=before.hits[:1]))
    assert (more.exit_code, more.checks[-1].why) == (10, "1 attempts again, 0 not, 1 others")
    assert verdict.compare_hits(before, receipt(hits_complete=False)).exit_code == 12
    other = receipt(hits=[*before.hits[:1], Hit("88bb", 1, "crash")])
    missed = verdict.compare_hits(other, before)
    assert missed.exit_code == 10
    assert missed.checks[-1].why == "1 attempts again, 1 not, 1 others"
    assert verdict.compare_hits(receipt(hits_complete=False), before).exit_code == 12


def test_the_worst_of_several_runs_counts() -> None:
    runs = [verdict.conclude(receipt(check), None, None) for check in (HELD, UNCLEAR, BROKEN, MISSED)]
    assert verdict.worst(runs).exit_code == 11
    stopped = msgspec.structs.replace(receipt(), outcome="interrupted", exit_code=130)
    assert verdict.worst([*runs, stopped]).exit_code == 130


def measured(name: str, value: float | None) -> Receipt:
    """Return a receipt with one known metric."""
    if name in ("opened", "recovered"):
        return receipt(figures=[], **{"opened_after": None, "recovered_after": None} | {f"{name}_after": value})
    phase = [PhaseMetrics(phase="faults", seconds=9.0, measured={name: value})]
    return receipt(figures=phase, opened_after=None, recovered_after=None)


@pytest.mark.parametrize(
    ("name", "before", "now", "expected"),
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
def test_a_metric_is_worse_beyond_the_tolerance_and_the_negligible_change(
    name: str, before: float | None, now: float | None, expected: str
) -> None:
    found = compare(measured(name, before), measured(name, now), 0.25)
    (one,) = [one for one in found.differences if one.baseline is not None or one.now is not None]
    assert one.verdict == expected
    assert one.is_missing is (expected == "not compared")
    assert one.worse is (expected == "WORSE")
    assert found.has_common_metric is (before is not None and now is not None)
    assert one.change == (None if not before or now is None else pytest.approx(now / before - 1))


def test_only_selected_metrics_are_compared() -> None:
    found = compare(measured("orders", 9.0), measured("orders", 1.0))
    assert {one.metric for one in found.differences} == {"breaker opened after", "recovered after"}
    unknown = compare(measured("p95", None), measured("p95", None))
    assert [one.is_missing for one in unknown.differences] == [False] * 3
    assert [one.verdict for one in unknown.differences] == ["not compared"] * 3
