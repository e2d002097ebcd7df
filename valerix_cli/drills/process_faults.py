"""Injects the faults of a drill into processes, each in its own thread."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import msgspec

from valerix_cli.drills.model import Fault
from valerix_cli.drills.receipt import AffectedProcess
from valerix_cli.drills.targets.base import FaultTarget, LocalFaultTarget, Process
from valerix_cli.errors import CliError, GuardError


class FaultResult(msgspec.Struct, frozen=True):
    """The processes a fault affected and its number of hits; for a flush, hits are keys."""

    affected: list[AffectedProcess]
    hits: int


class ProcessFaults:
    """Faults that kill, stop or restart processes, or flush Redis. They end early when they are rolled back."""

    def __init__(self, target: FaultTarget) -> None:
        self._target = target
        self._threads: list[threading.Thread] = []
        self._stopped: list[Process] = []
        self._held_down: set[str] = set()
        self._rolling_back = threading.Event()

    @property
    def are_running(self) -> bool:
        return any(thread.is_alive() for thread in self._threads)

    def start(self, name: str, fault: Fault, on_end: Callable[[FaultResult | CliError], None]) -> None:
        """Inject a fault in a thread and pass its result to `on_end` there. Does nothing once rolled back."""

        def work() -> None:
            if self._rolling_back.is_set():  # a signal ended the drill before this thread ran
                return
            try:
                on_end(self._inject(fault))
            except CliError as error:
                on_end(error)

        thread = threading.Thread(target=work, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def wait(self) -> None:
        """Wait until all faults have ended and their processes are back."""
        for thread in self._threads:
            if thread.ident is not None:  # a signal may arrive just before a thread is started
                thread.join()

    def roll_back(self) -> None:
        """Release and resume all processes, and wait until they are back."""
        self._rolling_back.set()
        if isinstance(self._target, LocalFaultTarget):
            for name in self._held_down:
                self._target.release(name)
            for process in [*self._stopped]:
                with suppress(CliError):  # it has ended
                    self._target.resume(process)
        self.wait()

    def all_running(self) -> bool:
        return self._target.all_running()

    def _inject(self, fault: Fault) -> FaultResult:
        if fault.kind == "flush":
            return FaultResult([], self._local.flush_redis())
        inject = {"kill": self._kill, "stop": self._stop, "restart": self._restart}[fault.kind]
        affected = inject(fault, self._target.find(fault.target))
        return FaultResult(affected, len(affected))

    @property
    def _local(self) -> LocalFaultTarget:
        if not isinstance(self._target, LocalFaultTarget):
            raise GuardError(
                "The fault was not injected.", "it needs the processes' machine", "valerix --context local"
            )
        return self._target

    def _restart(self, _: Fault, processes: Sequence[Process]) -> list[AffectedProcess]:
        affected, began = [], time.monotonic()
        for process in self._target.restart(processes):
            affected.append(_affected(process, began))
            began = time.monotonic()
        return affected

    def _kill(self, fault: Fault, processes: Sequence[Process]) -> list[AffectedProcess]:
        began = time.monotonic()
        for process in processes:
            if fault.restart_after:
                self._held_down.add(process.name)
                self._local.hold_down(process.name, fault.restart_after)
            self._target.kill(process)
        for process in processes:
            self._target.wait_until_back(process)
        return [_affected(process, began) for process in processes]

    def _stop(self, fault: Fault, processes: Sequence[Process]) -> list[AffectedProcess]:
        began, seconds = time.monotonic(), fault.lasting or 0.0
        for process in processes:
            self._local.stop(process, seconds)
            self._stopped.append(process)
        self._rolling_back.wait(seconds)
        for process in processes:
            self._local.resume(process)
            self._stopped.remove(process)
        return [_affected(process, began) for process in processes]


def _affected(process: Process, began: float) -> AffectedProcess:
    return AffectedProcess(process.name, process.pid or 0, round(time.monotonic() - began, 2))
