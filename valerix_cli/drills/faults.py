"""Schedules the faults of a drill: starts each at its time, ends it, and records what it did."""

from collections.abc import Callable, Sequence

import msgspec

from valerix_cli.clients.inventory import InventoryClient
from valerix_cli.drills.gremlins import GremlinControl, field_name, turn_off
from valerix_cli.drills.model import Drill, Fault
from valerix_cli.drills.monitor import HitCounts
from valerix_cli.drills.process_faults import FaultResult, ProcessFaults
from valerix_cli.drills.receipt import Hit, Injection
from valerix_cli.drills.targets.base import FaultTarget
from valerix_cli.errors import CliError


class FaultScheduler:
    """The faults of one run. `clock` returns seconds since the load began; `log` receives a line per event.

    With `script`, gremlins hit exactly the listed attempts and are live from the beginning to the end.
    """

    def __init__(
        self,
        drill: Drill,
        inventory: InventoryClient,
        target: FaultTarget | None,
        *,
        clock: Callable[[], float],
        log: Callable[[str], None],
        script: Sequence[Hit] | None = None,
    ) -> None:
        self.injections: dict[int, Injection] = {}
        self.failures: list[CliError] = []
        self._drill, self._inventory, self._clock, self._log = drill, inventory, clock, log
        self._gremlins = GremlinControl(drill, inventory, clock, script)
        self._processes = None if target is None else ProcessFaults(target)
        self._pending = sorted(range(len(drill.faults)), key=lambda number: drill.faults[number].at)

    @property
    def first_began(self) -> float | None:
        return min((injection.began for injection in self.injections.values()), default=None)

    @property
    def last_ended(self) -> float | None:
        """The end of the last fault; None without faults or while one is active or pending."""
        ends = [injection.ended for injection in self.injections.values()]
        known = [end for end in ends if end is not None]
        return max(known) if known and len(known) == len(ends) and self.are_over else None

    @property
    def hits(self) -> int:
        return sum(injection.hits for injection in self.injections.values())

    @property
    def are_over(self) -> bool:
        """True if all faults have ended. Gremlins that follow a script stay live and do not count."""
        live = self._gremlins.live and not self._gremlins.is_scripted
        return not self._pending and not live and not self._gremlins.is_outdated and not self._processes_affected

    def step(self) -> None:
        """Start and end the faults that are due. Raises CliError if gremlins cannot be changed."""
        now = self._clock()
        for number in self._gremlins.expired(now):
            self._gremlins.remove(number)
            self._record_end(number)
        due = [number for number in self._pending if self._start_of(number) <= now]
        self._pending = [number for number in self._pending if number not in due]
        for number in due:
            self._begin(number, now)
        self._apply_gremlins()

    def end_gremlins(self) -> None:
        """End the live gremlins early, except those that follow a script."""
        if self._gremlins.is_scripted:
            return
        for number in self._gremlins.live:
            self._gremlins.remove(number)
            self._record_end(number)

    def wait(self) -> None:
        """Wait until the faults of processes have ended."""
        if self._processes:
            self._processes.wait()

    def roll_back(self) -> list[str]:
        """End all faults. Returns descriptions of what may still be active; empty if all are off."""
        self._pending, left = [], []
        for number in self._gremlins.live:
            self._gremlins.remove(number)
            self._record_end(number)
        if self._processes:
            self._processes.roll_back()
        if self._drill.faults and (failure := turn_off(self._inventory)):
            left.append(f"gremlins may be live: {failure}; they end by themselves when their time is up")
        if self._processes and not self._processes.all_running():
            left.append("not every process runs again")
        return left

    def record_hits(self, counts: HitCounts) -> None:
        """Store the rolls and hits that inventory counted for each gremlin's activations."""
        for number, injection in self.injections.items():
            name = field_name(injection.target)
            pairs = [counts.get(activation, {}).get(name, (0, 0)) for activation in injection.activations]
            if pairs:
                rolls, hits = (sum(column) for column in zip(*pairs, strict=True))
                self.injections[number] = msgspec.structs.replace(injection, rolls=rolls, hits=hits)

    def _start_of(self, number: int) -> float:
        fault = self._drill.faults[number]
        return 0.0 if fault.kind == "gremlin" and self._gremlins.is_scripted else fault.at

    @property
    def _processes_affected(self) -> bool:
        return self._processes is not None and self._processes.are_running

    def _begin(self, number: int, now: float) -> None:
        fault = self._drill.faults[number]
        self.injections[number] = Injection(
            kind=fault.kind, target=fault.target, description=fault.description, began=self._clock()
        )
        self._log(fault.description)
        if fault.kind == "gremlin":
            self._gremlins.add(number, now)
        else:
            self._start_process_fault(number, fault)

    def _start_process_fault(self, number: int, fault: Fault) -> None:
        def on_end(result: FaultResult | CliError) -> None:
            if isinstance(result, CliError):
                self.failures.append(result)
                self._record_end(number)
            else:
                self._record_end(number, result)

        assert self._processes is not None  # noqa: S101 - the preflight checked it # nosec B101
        self._processes.start(f"fault {number}", fault, on_end)

    def _apply_gremlins(self) -> None:
        """Pass changes on to inventory; retried by the next step while a fault of the drill makes it unreachable."""
        if not self._gremlins.is_outdated:
            return
        try:
            activation = self._gremlins.apply()
        except CliError:
            if not self._processes_affected:
                raise
            return
        if activation is None:
            return
        for number in self._gremlins.live:
            injection = self.injections[number]
            activations = [*injection.activations, str(activation.id)]
            self.injections[number] = msgspec.structs.replace(injection, activations=activations)

    def _record_end(self, number: int, result: FaultResult | None = None) -> None:
        injection = self.injections[number]
        hits = injection.hits if result is None else result.hits
        self.injections[number] = msgspec.structs.replace(
            injection,
            ended=self._clock(),
            affected=[] if result is None else result.affected,
            rolls=max(injection.rolls, hits),
            hits=hits,
        )
        self._log(f"over: {injection.description}")
