"""The outcome of simulated runs, by their measurements and by what could not be measured."""

from typing import Any

import pytest
import yaml

from tests.unit.drills.simulation import WELL, World, run
from valerix_cli.drills import parser
from valerix_cli.drills.receipt import Check, Hit, Receipt


@pytest.mark.parametrize(
    ("world", "outcome"),
    [
        (WELL, "passed"),
        (World(is_sent=False), "inconclusive"),
        (World(outcome="timeout"), "inconclusive"),
        (World(hits=0), "inconclusive"),
        (World(breaker=None), "inconclusive"),
        (World(breaker="no replica"), "inconclusive"),
        (World(breaker="open"), "missed"),
        (World(backlog=None), "inconclusive"),
        (World(backlog=7), "missed"),
        (World(audit="violated"), "violated"),
        (World(audit="unsettled"), "inconclusive"),
        (World(audit="unreachable"), "inconclusive"),
        (World(audit="not-checked"), "inconclusive"),
        (World(left_on=("a gremlin may be live",)), "not-rolled-back"),
        (World(load_fails_at=2.0), "inconclusive"),
        (World(gremlins_readable=False), "inconclusive"),
        (World(is_monitored=False), "inconclusive"),
        (World(lost_after=0.0), "inconclusive"),
        (World(lost_after=4.0), "inconclusive"),
        (World(unreadable_after=1.0), "inconclusive"),
    ],
)
def test_a_run_passes_only_if_everything_was_measured_and_held(world: World, outcome: str) -> None:
    assert small(world).outcome == outcome


def test_a_run_whose_load_fails_ends_then_with_the_error() -> None:
    found = small(World(load_fails_at=2.0))
    assert "the load failed: No space left on device" in found.why[0]
    assert found.seconds < 3.0


def small(world: World, script: list[Hit] | None = None, **changes: Any) -> Receipt:
    drill = {
        "name": "small",
        "load": {"rate": "30/s", "for": "6s"},
        "faults": [{"at": "2s", "gremlin": "crash", "ttl": "1s"}],
        "expect": ["breaker stayed closed", "p95 < 300ms"],
        "recover": {"within": "8s", "require": ["p95 < 300ms"]},
        "abort": ["dead > 100 for 2s"],
    }
    return run(parser.parse(yaml.safe_dump(drill | changes), "drill.yaml"), world, script)


def checks(found: Receipt) -> dict[tuple[str, str], Check]:
    return {(check.phase, check.require): check for check in found.checks}


def test_a_run_checks_its_load_its_lease_and_its_audit() -> None:
    assert checks(small(WELL))["faults", "orders are answered"].verdict == "held"
    assert checks(small(WELL))["faults", "no faults but its own"].verdict == "held"
    audited = checks(small(World(audit="unreachable")))["audit", "the audit"]
    assert audited.why.startswith("The audit could not be finished.")
    late = small(World(lost_after=4.0))
    assert late.why[0] == "The platform is another drill's. another run has it"
    assert checks(late)["faults", "no faults but its own"].why == "another run has it"


@pytest.mark.parametrize(
    ("world", "verdict"),
    [
        (WELL, "held"),
        (World(breaker="open"), "missed"),
        (World(held_back=True), "missed"),
        (World(unreadable_after=1.0), "not-measured"),
    ],
)
def test_a_breaker_is_closed_if_all_replicas_are_and_no_worker_is_held_back(world: World, verdict: str) -> None:
    assert checks(small(world, expect=["breaker closed"]))["faults", "breaker closed"].verdict == verdict


def test_a_breaker_that_could_not_be_read_since_the_first_fault_is_not_measured() -> None:
    check = checks(small(World(unreadable_after=1.0)))["faults", "breaker stayed closed"]
    assert (check.verdict, check.why) == ("not-measured", "the breaker state could not be read")


def test_an_abort_condition_is_evaluated_over_its_period() -> None:
    assert small(WELL, abort=["orders < 50 for 2s"]).outcome == "passed"
    blind = checks(small(World(backlog=None), abort=["backlog > 5"]))
    assert blind["faults", "never backlog > 5"].verdict == "not-measured"
    late = checks(small(WELL, abort=["backlog == 0 for 3s"]))
    assert late["faults", "orders are answered"].verdict == "held", "the fault had begun"


def test_a_required_invariant_that_the_audit_omits_is_inconclusive() -> None:
    assert small(World(audit="left-out")).outcome == "passed"
    assert small(World(audit="left-out"), invariants=["cache-agrees"]).outcome == "inconclusive"


def test_an_open_breaker_did_not_stay_closed_in_a_drill_without_faults() -> None:
    assert small(World(breaker="open"), faults=[], expect=["breaker stayed closed"]).outcome == "missed"


def test_no_fault_is_injected_unless_every_steady_requirement_holds() -> None:
    steady_run = small(WELL, steady={"window": "1s", "require": ["p50 < 300ms", "orders >= 30"]})
    assert steady_run.outcome == "passed"
    assert {figures.phase for figures in steady_run.figures} == {"steady", "faults", "recover"}
    unsteady = small(WELL, steady={"window": "1s", "require": ["p50 < 300ms", "orders > 30"]})
    assert (unsteady.outcome, unsteady.why[0]) == ("inconclusive", "the platform is not in a steady state")
    assert unsteady.injections == []
    verdicts = {(check.phase, check.require): check.verdict for check in unsteady.checks}
    assert verdicts["steady", "orders > 30"] == "missed"
    assert verdicts["faults", "p95 < 300ms"] == "not-measured"
    assert ("faults", "orders are answered") not in verdicts


def test_expectations_are_evaluated_from_the_first_fault_to_the_end_of_the_load() -> None:
    found = small(WELL, expect=["orders == 120", "throughput > 25/s"], faults=[{"at": "2s", "flush": "redis"}])
    assert found.outcome == "passed", found.why
    assert [one.seconds for one in found.figures if one.phase == "faults"] == [4.0]


def test_the_opening_of_a_breaker_counts_from_the_first_fault() -> None:
    assert small(World(breaker="open"), expect=["breaker opened within 1s"]).opened_after == pytest.approx(0, abs=0.3)
    assert small(World(breaker="open"), faults=[], expect=["breaker opened"]).opened_after is None


def test_an_aborted_run_lists_the_requirements_it_did_not_reach() -> None:
    found = small(WELL, abort=["backlog == 0 for 2s"])
    verdicts = {(check.phase, check.require): check.verdict for check in found.checks}
    assert (found.outcome, found.why[0]) == ("missed", "abort: backlog == 0 for 2s")
    assert verdicts["faults", "never backlog == 0 for 2s"] == "missed"
    assert verdicts["recover", "p95 < 300ms"] == "not-measured"
    assert verdicts["drain", "every order is finished"] == "not-measured"


def test_faults_begin_after_the_steady_window_and_scripted_ones_at_once() -> None:
    steady = {"window": "2s", "require": ["p50 < 300ms"]}
    (fault,) = small(WELL, steady=steady).injections
    assert fault.began >= 2.0
    (scripted,) = small(WELL, [Hit("an-order", 1, "crash")], steady=steady).injections
    assert scripted.began < 1.0


def test_a_fault_that_cannot_be_injected_ends_the_run() -> None:
    found = small(World(fault_fails=True))
    assert (found.outcome, found.why[0]) == ("inconclusive", "No signal was sent. the process ended")


def test_a_recovery_is_recorded_while_the_load_still_runs() -> None:
    recovered_after = small(WELL).recovered_after
    assert recovered_after is not None
    assert recovered_after < 2, "the load ends three seconds after the fault"
