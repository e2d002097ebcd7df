"""What a drill can do to a cluster, and what only to this machine."""

import pytest

from valerix_cli.drills.model import Fault
from valerix_cli.drills.pods import cannot_be_struck
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
def test_pods_can_be_killed_and_rolled_out_anew(fault: Fault) -> None:
    assert cannot_be_struck(fault) is None


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (Fault(at=Seconds(1), stop="order", lasting=Seconds(2)), "`stop` needs the machine"),
        (Fault(at=Seconds(1), flush="redis"), "`flush` needs the machine"),
        (Fault(at=Seconds(1), kill="order", restart_after=Seconds(2)), "`restart_after` keeps a process down"),
        (Fault(at=Seconds(1), kill="order-1"), "there is no order-1"),
    ],
)
def test_what_only_a_machine_can_do_is_told(fault: Fault, why: str) -> None:
    assert why in (cannot_be_struck(fault) or "")
