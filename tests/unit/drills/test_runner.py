"""Runs without a platform: what each ends with, by what was seen and what was not."""

from typing import Any

import pytest
import yaml

from tests.unit.drills.simulation import WELL, World, run
from valerix_cli.drills import reading
from valerix_cli.drills.receipt import Check, Receipt


@pytest.mark.parametrize(
    ("world", "outcome"),
    [
        (WELL, "passed"),
        (World(is_sent=False), "inconclusive"),
        (World(said="timeout"), "inconclusive"),
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
        (World(breaks_off=2.0), "inconclusive"),
        (World(gremlins_tell=False), "inconclusive"),
        (World(is_watched=False), "inconclusive"),
        (World(lost_after=0.0), "inconclusive"),
        (World(lost_after=4.0), "inconclusive"),
        (World(blind_after=1.0), "inconclusive"),
    ],
)
def test_a_run_is_green_only_where_all_was_seen_and_held(world: World, outcome: str) -> None:
    assert small(world).outcome == outcome


def small(world: World, **changes: Any) -> Receipt:
    drill = {
        "name": "small",
        "load": {"rate": "30/s", "for": "6s"},
        "faults": [{"at": "2s", "gremlin": "crash", "ttl": "1s"}],
        "expect": ["breaker stayed closed", "p95 < 300ms"],
        "recover": {"within": "8s", "require": ["p95 < 300ms"]},
        "abort": ["dead > 100 for 2s"],
    }
    return run(reading.parse(yaml.safe_dump(drill | changes), "drill.yaml"), world)


def checks(found: Receipt) -> dict[tuple[str, str], Check]:
    return {(check.phase, check.require): check for check in found.checks}


def test_each_run_says_what_its_load_its_platform_and_its_audit_came_to() -> None:
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
        (World(blind_after=1.0), "not-measured"),
    ],
)
def test_a_breaker_is_closed_where_each_says_so_and_no_worker_is_held_back(world: World, verdict: str) -> None:
    assert checks(small(world, expect=["breaker closed"]))["faults", "breaker closed"].verdict == verdict


def test_a_breaker_that_nobody_could_ask_since_the_first_fault_did_not_stay_closed_for_all_that_is_known() -> None:
    told = checks(small(World(blind_after=1.0)))["faults", "breaker stayed closed"]
    assert (told.verdict, told.why) == ("not-measured", "the breaker state could not be read")


def test_what_a_run_is_given_up_for_is_looked_at_over_the_time_that_it_has_to_last() -> None:
    assert small(WELL, abort=["orders < 50 for 2s"]).outcome == "passed"
    blind = checks(small(World(backlog=None), abort=["backlog > 5"]))
    assert blind["faults", "never backlog > 5"].verdict == "not-measured"
    late = checks(small(WELL, abort=["backlog == 0 for 3s"]))
    assert late["faults", "orders are answered"].verdict == "held", "the fault had begun"


def test_an_invariant_that_a_file_names_and_the_audit_leaves_out_is_inconclusive() -> None:
    assert small(World(audit="left-out")).outcome == "passed"
    assert small(World(audit="left-out"), invariants=["cache-agrees"]).outcome == "inconclusive"


def test_without_faults_a_breaker_that_was_open_did_not_stay_closed() -> None:
    assert small(World(breaker="open"), faults=[], expect=["breaker stayed closed"]).outcome == "missed"


def test_nothing_is_broken_without_a_steady_state_which_all_of_its_requirements_make() -> None:
    well = small(WELL, steady={"window": "1s", "require": ["p50 < 300ms", "orders >= 30"]})
    assert well.outcome == "passed"
    assert {figures.phase for figures in well.figures} == {"steady", "faults", "recover"}
    unsteady = small(WELL, steady={"window": "1s", "require": ["p50 < 300ms", "orders > 30"]})
    assert (unsteady.outcome, unsteady.why[0]) == ("inconclusive", "the platform is not in a steady state")
    assert unsteady.injections == []
    verdicts = {(check.phase, check.require): check.verdict for check in unsteady.checks}
    assert verdicts["steady", "orders > 30"] == "missed"
    assert verdicts["faults", "p95 < 300ms"] == "not-measured"
    assert ("faults", "orders are answered") not in verdicts


def test_expectations_are_held_against_what_was_due_from_the_first_fault_to_the_end_of_the_load() -> None:
    found = small(WELL, expect=["orders == 120", "throughput > 25/s"], faults=[{"at": "2s", "flush": "redis"}])
    assert found.outcome == "passed", found.why
    assert [one.seconds for one in found.figures if one.phase == "faults"] == [4.0]


def test_a_breaker_opens_so_long_after_the_first_fault() -> None:
    assert small(World(breaker="open"), expect=["breaker opened within 1s"]).opened_after == pytest.approx(0, abs=0.3)
    assert small(World(breaker="open"), faults=[], expect=["breaker opened"]).opened_after is None


def test_a_run_that_is_given_up_names_what_it_did_not_come_to() -> None:
    found = small(WELL, abort=["backlog == 0 for 2s"])
    verdicts = {(check.phase, check.require): check.verdict for check in found.checks}
    assert (found.outcome, found.why[0]) == ("missed", "abort: backlog == 0 for 2s")
    assert verdicts["faults", "never backlog == 0 for 2s"] == "missed"
    assert verdicts["recover", "p95 < 300ms"] == "not-measured"
    assert verdicts["drain", "every order is finished"] == "not-measured"
