"""Fault targets: each platform has the methods for the faults that it supports."""

import threading
from pathlib import Path
from typing import Any, cast

import pytest

from valerix_cli.drills.model import Fault
from valerix_cli.drills.process_faults import FaultResult, ProcessFaults
from valerix_cli.drills.targets import FaultTarget, LocalFaultTarget, LocalProcesses, Process
from valerix_cli.drills.targets.kubernetes import KubernetesPods
from valerix_cli.drills.units import Seconds
from valerix_cli.errors import CliError, GuardError

PODS: FaultTarget = KubernetesPods(cast("Any", None), "valerix")
PROCESSES: LocalFaultTarget = LocalProcesses(Path())


def test_local_processes_support_local_faults_and_pods_do_not() -> None:
    assert isinstance(PROCESSES, LocalFaultTarget)
    assert not isinstance(PODS, LocalFaultTarget)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(at=Seconds(0), stop="order", lasting=Seconds(1)),
        Fault(at=Seconds(0), kill="order", restart_after=Seconds(1)),
        Fault(at=Seconds(0), flush="redis"),
    ],
    ids=lambda fault: str(fault.kind),
)
def test_a_local_fault_in_a_cluster_ends_with_an_error(fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KubernetesPods, "find", lambda *_: [Process("order-abc", None, "running")])
    results: list[FaultResult | CliError] = []
    faults = ProcessFaults(PODS)
    faults.start("fault", fault, results.append)
    faults.wait()
    assert [type(result) for result in results] == [GuardError]
    faults.roll_back()


def test_a_rolled_back_stop_resumes_its_process_before_its_time() -> None:
    target = _Stoppable()
    results: list[FaultResult | CliError] = []
    faults = ProcessFaults(cast("Any", target))
    faults.start("fault", Fault(at=Seconds(0), stop="order", lasting=Seconds(600)), results.append)
    assert target.stopped.wait(10)
    faults.roll_back()
    assert target.signals[0] == "stop"
    assert "resume" in target.signals
    assert [type(result) for result in results] == [FaultResult]


class _Stoppable:
    """A local target with one process."""

    def __init__(self) -> None:
        self.stopped = threading.Event()
        self.signals: list[str] = []

    def find(self, _: str) -> list[Process]:
        return [Process("order-1", 1, "running")]

    def stop(self, *_: object) -> None:
        self.signals.append("stop")
        self.stopped.set()

    def resume(self, _: Process) -> None:
        self.signals.append("resume")

    def kill(self, _: Process) -> None: ...
    def restart(self, _: object) -> None: ...
    def wait_until_back(self, _: Process) -> None: ...
    def all_running(self) -> bool:
        return True

    def hold_down(self, *_: object) -> None: ...
    def release(self, _: str) -> None: ...
    def flush_redis(self) -> int:
        return 0
