"""Runs without a platform: what each ends with, by what was seen and what was not."""

from typing import Any

import pytest
import yaml

from tests.unit.drills.simulation import WELL, World, run
from valerix_cli.drills import reading
from valerix_cli.drills.receipt import Receipt


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


def test_an_invariant_that_a_file_names_and_the_audit_leaves_out_is_inconclusive() -> None:
    assert small(World(audit="left-out")).outcome == "passed"
    assert small(World(audit="left-out"), invariants=["cache-agrees"]).outcome == "inconclusive"


def test_without_faults_a_breaker_that_was_open_did_not_stay_closed() -> None:
    assert small(World(breaker="open"), faults=[], expect=["breaker stayed closed"]).outcome == "missed"


def test_a_run_that_is_given_up_names_what_it_did_not_come_to() -> None:
    found = small(WELL, abort=["backlog == 0 for 2s"])
    verdicts = {(check.phase, check.require): check.verdict for check in found.checks}
    assert (found.outcome, found.why[0]) == ("missed", "abort: backlog == 0 for 2s")
    assert verdicts["faults", "never backlog == 0 for 2s"] == "missed"
    assert verdicts["recover", "p95 < 300ms"] == "not-measured"
    assert verdicts["drain", "every order is finished"] == "not-measured"
