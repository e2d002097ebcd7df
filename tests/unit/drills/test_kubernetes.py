"""Faults that a cluster supports, and faults that need the machine of the processes."""

import pytest

from valerix_cli.drills.model import Fault
from valerix_cli.drills.targets.kubernetes import unsupported_reason
from valerix_cli.drills.units import Seconds


@pytest.mark.parametrize(
    "fault",
    [
        Fault(at=Seconds(1), restart="order"),
        Fault(at=Seconds(1), kill="worker"),
        Fault(at=Seconds(1), kill="postgres"),
        Fault(at=Seconds(1), gremlin="crash"),
    ],
)
def test_pods_can_be_killed_and_restarted(fault: Fault) -> None:
    assert unsupported_reason(fault) is None


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (Fault(at=Seconds(1), stop="order", lasting=Seconds(2)), "`stop` needs the machine"),
        (Fault(at=Seconds(1), flush="redis"), "`flush` needs the machine"),
        (Fault(at=Seconds(1), kill="order", restart_after=Seconds(2)), "`restart_after` keeps a process down"),
        (Fault(at=Seconds(1), kill="order-1"), "there is no order-1"),
    ],
)
def test_faults_that_need_the_machine_are_unsupported_in_a_cluster(fault: Fault, why: str) -> None:
    assert why in (unsupported_reason(fault) or "")
