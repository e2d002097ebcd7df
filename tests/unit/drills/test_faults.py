"""Faults of processes when a signal ends the drill at the worst moment."""

import threading
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
import yaml

from valerix_cli.drills.faults import FaultScheduler
from valerix_cli.drills.parser import parse
from valerix_cli.errors import UnreachableError

DRILL = yaml.safe_dump(
    {
        "name": "small",
        "load": {"rate": "30/s", "for": "6s"},
        "faults": [{"at": "0s", "kill": "worker"}],
        "expect": ["error_rate < 100%"],
    }
)


class Processes:
    """A fault target with one running worker that counts kills."""

    def __init__(self) -> None:
        self.killed = 0

    def find(self, _: str) -> Sequence[Any]:
        return [SimpleNamespace(name="worker-1", pid=1)]

    def kill(self, *_: Any) -> None:
        self.killed += 1

    def wait_until_back(self, _: Any) -> None:
        return None

    def all_running(self) -> bool:
        return True


class Inventory:
    """An inventory client without live gremlins."""

    def deactivate(self) -> None:
        return None

    def chaos(self) -> Any:
        return SimpleNamespace(live=None)


@pytest.fixture
def processes() -> Processes:
    return Processes()


@pytest.fixture
def faults(processes: Processes) -> FaultScheduler:
    drill = parse(DRILL, "drill.yaml")
    return FaultScheduler(
        drill, cast("Any", Inventory()), cast("Any", processes), clock=lambda: 0.0, log=lambda _: None
    )


def test_a_fault_is_injected_and_awaited(faults: FaultScheduler, processes: Processes) -> None:
    faults.step()
    faults.wait()
    assert (processes.killed, faults.roll_back()) == (1, [])


def test_a_roll_back_after_a_signal_during_the_start_of_a_fault_returns(
    faults: FaultScheduler, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: threading.Thread) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            faults.step()
    assert (faults.roll_back(), processes.killed) == ([], 0)


def test_a_fault_whose_thread_starts_after_the_roll_back_injects_nothing(
    faults: FaultScheduler, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    late: list[threading.Thread] = []

    def start_later(thread: threading.Thread) -> None:
        late.append(thread)

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start_later)
        faults.step()
    assert faults.roll_back() == []
    late[0].start()
    late[0].join()
    assert processes.killed == 0


class Unreachable(Inventory):
    """An inventory client whose first requests fail, as while a fault of the drill restarts inventory."""

    def __init__(self, failures: int) -> None:
        self.failures, self.activations = failures, 0

    def activate(self, _: Any) -> Any:
        if self.failures:
            self.failures -= 1
            raise UnreachableError("The inventory service is unreachable.", "connection refused", "valerix status")
        self.activations += 1
        return SimpleNamespace(id="an-activation")


class Slow(Processes):
    """A worker that takes until `back` is set to come back."""

    def __init__(self) -> None:
        super().__init__()
        self.back = threading.Event()

    def wait_until_back(self, _: Any) -> None:
        self.back.wait(10)


def with_gremlin(inventory: Inventory, processes: Processes, *faults: dict[str, str]) -> FaultScheduler:
    gremlin = {"at": "0s", "gremlin": "crash", "ttl": "5s"}
    drill = yaml.safe_load(DRILL) | {"faults": [*faults, gremlin]}
    return FaultScheduler(
        parse(yaml.safe_dump(drill), "drill.yaml"),
        cast("Any", inventory),
        cast("Any", processes),
        clock=lambda: 0.0,
        log=lambda _: None,
    )


def test_gremlins_are_activated_later_while_a_fault_makes_inventory_unreachable() -> None:
    inventory, slow = Unreachable(failures=1), Slow()
    faults = with_gremlin(inventory, slow, {"at": "0s", "kill": "inventory"})
    faults.step()
    assert (inventory.activations, faults.injections[1].activations) == (0, [])
    faults.step()
    assert (inventory.activations, faults.injections[1].activations) == (1, ["an-activation"])
    slow.back.set()
    assert faults.roll_back() == []


def test_gremlins_that_cannot_be_activated_without_a_process_fault_are_an_error() -> None:
    faults = with_gremlin(Unreachable(failures=1), Processes())
    with pytest.raises(UnreachableError):
        faults.step()
