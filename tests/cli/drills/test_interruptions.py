"""Each signal that ends a command, in each phase of a drill: no fault remains, and the next drill can begin."""

import signal
from pathlib import Path

import pytest

from tests.cli.conftest import Valerix
from tests.cli.drills.small import can_begin, is_calm, receipt, started, state_of, verdicts, written

pytestmark = pytest.mark.long

SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
GREMLIN, STOP = "gremlin: crash, rate: 30%, ttl: 60s", "stop: worker, for: 60s"
PHASES = [
    pytest.param("steady state", GREMLIN, 61, id="steady"),
    pytest.param("crash on 30 %", GREMLIN, 61, id="gremlin"),
    pytest.param("worker stopped", STOP, 61, id="process"),
    pytest.param("recovering", "gremlin: crash, rate: 60%, ttl: 2s", 3, id="recover"),
    pytest.param("draining", "gremlin: crash, rate: 30%, ttl: 1s", 2, id="drain"),
]
"""The line printed at the start of a phase, the fault of the drill, and the seconds of its load."""


def is_whole(own: Valerix) -> bool:
    """Return True if no process of the platform is stopped."""
    return all(state_of(one["pid"]) != "T" for replicas in own.stack()["services"].values() for one in replicas)


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
@pytest.mark.parametrize(("line", "fault", "seconds"), PHASES)
def test_an_interrupted_drill_leaves_no_faults_and_no_processes(
    own: Valerix, tmp_path: Path, line: str, fault: str, seconds: int, number: signal.Signals
) -> None:
    done = own.end(started(own, written(tmp_path, fault=fault, seconds=seconds), line), number)
    assert done.code == SIGNALS[number], done.err
    assert is_calm(own)()
    assert is_whole(own)
    assert can_begin(own)()
    assert (found := receipt(own))["outcome"] == "interrupted"
    assert verdicts(found, "roll-back") == {"all faults are off": "held"}


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_drill_interrupted_during_its_audit_ends_with_its_verdict(
    own: Valerix, tmp_path: Path, number: signal.Signals
) -> None:
    """Everything is rolled back before the audit, so the verdict is known."""
    done = own.end(started(own, written(tmp_path), "auditing"), number)
    assert (done.code, receipt(own)["outcome"]) == (0, "passed"), done.err


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_drill_interrupted_before_its_load_releases_its_lease(
    own: Valerix, tmp_path: Path, number: signal.Signals
) -> None:
    done = own.end(started(own, written(tmp_path, seconds=61), "drill small"), number)
    assert done.code == SIGNALS[number], done.err
    assert is_calm(own)()
    assert can_begin(own)()
