"""Makes the faults of a drill happen, each at its time, and ends them."""

import math
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import msgspec

from valerix_cli.clients.inventory import InventoryClient
from valerix_cli.drills.model import LONGEST, Drill, Fault
from valerix_cli.drills.processes import Process, Victims
from valerix_cli.drills.receipt import Hit, Injection, Struck
from valerix_cli.errors import CliError
from valerix_cli.units import format_duration, percent

T = TypeVar("T")
_TRIES = 10.0  # seconds that turning gremlins off is tried again for


class Faults:
    """The faults of one run. `clock` gives seconds since the load began; `tell` hears what happens.

    With `script`, gremlins get at exactly those attempts, instead of rolling dice. They are live from the beginning to
    the end then: what is listed says what is hit, and when an attempt takes place is another matter.
    """

    def __init__(
        self,
        drill: Drill,
        inventory: InventoryClient,
        processes: Victims | None,
        *,
        clock: Callable[[], float],
        tell: Callable[[str], None],
        script: Sequence[Hit] | None = None,
    ) -> None:
        self.injections: dict[int, Injection] = {}
        self.failures: list[CliError] = []
        self._drill, self._inventory, self._processes = drill, inventory, processes
        self._clock, self._tell, self._script = clock, tell, script
        self._pending = sorted(range(len(drill.faults)), key=lambda number: drill.faults[number].at)
        self._gremlins: dict[int, float] = {}  # those that are live, and when each ends
        self._to_be_told = False  # what is live now, to inventory
        self._at_work: list[threading.Thread] = []
        self._stopped: list[Process] = []
        self._rolling_back = threading.Event()  # nobody waits for the end of a fault any more
        self._held: set[str] = set()

    @property
    def first_began(self) -> float | None:
        return min((injection.began for injection in self.injections.values()), default=None)

    @property
    def are_over(self) -> bool:
        """Whether all have been, and nothing of them is left; gremlins that follow a script go on."""
        live = self._gremlins and self._script is None
        return not self._pending and not live and not self._to_be_told and not self._is_striking

    def step(self) -> None:
        """Do what is due. Raises CliError when a fault cannot be made to happen."""
        now = self._clock()
        over = [number for number, end in self._gremlins.items() if now >= end]
        due = [number for number in self._pending if self._begins(number) <= now]
        self._pending = [number for number in self._pending if number not in due]
        for number in over:
            del self._gremlins[number]
            self._end(number)
        for number in due:
            fault = self._drill.faults[number]
            self._begin(number)
            if fault.kind == "gremlin":
                self._gremlins[number] = now + self._lasts(fault)
            else:
                self._in_the_background(number, fault)
        if over or any(self._drill.faults[number].kind == "gremlin" for number in due):
            self._to_be_told = True
        self._tell_inventory()

    def end_gremlins(self) -> None:
        """End those that are live before their time, but for those that follow a script."""
        if self._script is not None:
            return
        for number in list(self._gremlins):
            del self._gremlins[number]
            self._end(number)
            self._to_be_told = True

    def wait(self) -> None:
        """Wait until processes that were struck are back."""
        for thread in self._at_work:
            if thread.ident is not None:  # else a signal came just before it was started
                thread.join()

    def roll_back(self) -> list[str]:
        """End whatever is still wrong. Returns what could not be confirmed; nothing is left where that is empty."""
        self._rolling_back.set()
        self._pending, left = [], []
        for number in [*self._gremlins]:
            del self._gremlins[number]
            self._end(number)
        if self._processes:
            for name in self._held:
                self._processes.release(name)
            for process in [*self._stopped]:
                with suppress(CliError):  # it has ended meanwhile
                    self._processes.go_on(process)
            self.wait()
        if self._drill.faults and (why := calm(self._inventory)):
            left.append(f"gremlins may be live: {why}; they end by themselves when their time is up")
        if self._processes and not self._processes.all_run():
            left.append("not every process runs again")
        return left

    def count(self, injected: dict[str, dict[str, tuple[int, int]]]) -> None:
        """Take over what the gremlins of each activation have hit."""
        for number, injection in self.injections.items():
            counts = [injected.get(one, {}).get(_api_name(injection.target), (0, 0)) for one in injection.activations]
            if injection.activations:
                rolls, hits = (sum(column) for column in zip(*counts, strict=True))
                self.injections[number] = msgspec.structs.replace(injection, rolls=rolls, hits=hits)

    def _begins(self, number: int) -> float:
        fault = self._drill.faults[number]
        return 0.0 if fault.kind == "gremlin" and self._script is not None else fault.at

    def _lasts(self, fault: Fault) -> float:
        if self._script is not None:
            return LONGEST
        return fault.ttl or self._drill.load.seconds - fault.at

    def _tell_inventory(self) -> None:
        """Have it know which gremlins are to be live; once more in a moment, where a fault of ours keeps it away."""
        if not self._to_be_told:
            return
        try:
            self._unleash()
            self._to_be_told = False
        except CliError:
            if not self._is_striking:
                raise

    @property
    def _is_striking(self) -> bool:
        return any(thread.is_alive() for thread in self._at_work)

    def _unleash(self) -> None:
        if not self._gremlins:
            self._inventory.calm()
            return
        live = {number: self._drill.faults[number] for number in self._gremlins}
        activation = self._inventory.unleash(self._wish(live))
        for number in live:
            injection = self.injections[number]
            self.injections[number] = msgspec.structs.replace(
                injection, activations=[*injection.activations, str(activation.id)]
            )

    def _wish(self, live: dict[int, Fault]) -> dict[str, Any]:
        """The request for all gremlins that are to be live now; its lease ends with the first of them."""
        left = min(self._gremlins.values()) - self._clock()
        wish: dict[str, Any] = {
            "latency": False,
            "seed": self._drill.seed,
            "ttl_seconds": max(1, math.ceil(min(left, LONGEST))),
            "reason": reason(self._drill),
        }
        for fault in live.values():
            if fault.gremlin == "latency":
                wish |= {"latency": True, "latency_ms": round(fault.delay * 1000), "latency_rate": float(fault.rate)}
            else:
                wish[f"{_api_name(fault.target)}_rate"] = float(fault.rate)
        if self._script is not None:
            wish["script"] = [
                {"gremlin": hit.gremlin, "order_id": hit.order_id, "attempt": hit.attempt} for hit in self._script
            ]
        return wish

    def _begin(self, number: int) -> None:
        fault = self._drill.faults[number]
        said = say(fault)
        self.injections[number] = Injection(kind=fault.kind, target=fault.target, says=said, began=self._clock())
        self._tell(said)

    def _end(self, number: int, struck: Sequence[Struck] = (), hits: int | None = None) -> None:
        injection = self.injections[number]
        hits = injection.hits if hits is None else hits
        self.injections[number] = msgspec.structs.replace(
            injection, ended=self._clock(), struck=[*struck], rolls=max(injection.rolls, hits), hits=hits
        )
        self._tell(f"over: {injection.says}")

    def _in_the_background(self, number: int, fault: Fault) -> None:
        """What strikes processes takes its time, and the gremlins' times go on."""

        def work() -> None:
            if self._rolling_back.is_set():  # started while a signal ended the drill
                return
            try:
                self._strike(number, fault)
            except CliError as error:
                self.failures.append(error)
                self._end(number)

        thread = threading.Thread(target=work, name=f"fault {number}", daemon=True)
        self._at_work.append(thread)
        thread.start()

    def _strike(self, number: int, fault: Fault) -> None:
        assert self._processes is not None  # noqa: S101 - the preflight saw to it # nosec B101
        if fault.kind == "flush":
            self._end(number, hits=self._processes.flush_redis())
            return
        strike = {"kill": self._kill, "stop": self._stop, "restart": self._restart}[fault.kind]
        struck = strike(self._processes, fault, self._processes.of(fault.target))
        self._end(number, struck, len(struck))

    def _restart(self, processes: Victims, _: Fault, targets: Sequence[Process]) -> list[Struck]:
        """One after the other, each only when the one before is back."""
        struck, began = [], time.monotonic()
        for process in processes.restart(targets):
            struck.append(_struck(process, began))
            began = time.monotonic()
        return struck

    def _kill(self, processes: Victims, fault: Fault, targets: Sequence[Process]) -> list[Struck]:
        began = time.monotonic()
        for process in targets:
            if fault.restart_after:
                self._held.add(process.name)
            processes.kill(process, fault.restart_after)
        for process in targets:
            processes.until_back(process)
        return [_struck(process, began) for process in targets]

    def _stop(self, processes: Victims, fault: Fault, targets: Sequence[Process]) -> list[Struck]:
        began, seconds = time.monotonic(), fault.lasting or 0.0
        for process in targets:
            processes.stop(process, seconds)
            self._stopped.append(process)
        self._rolling_back.wait(seconds)
        for process in targets:
            processes.go_on(process)
            self._stopped.remove(process)
        return [_struck(process, began) for process in targets]


def _struck(process: Process, began: float) -> Struck:
    return Struck(process.name, process.pid or 0, round(time.monotonic() - began, 2))


def calm(inventory: InventoryClient) -> str:
    """Turn gremlins off until nobody says that one is live. Returns why not, where that cannot be had."""
    deadline, why = time.monotonic() + _TRIES, ""
    while time.monotonic() < deadline:
        try:
            inventory.calm()
            if inventory.chaos().live is None:
                return ""
        except CliError as error:
            why = str(error)
        time.sleep(0.2)
    return why or "one was turned on again"


def reason(drill: Drill) -> str:
    """What a drill says of its gremlins to everybody who looks."""
    return f"drill {drill.name}"


def say(fault: Fault) -> str:
    """A fault in a few words."""
    match fault.kind:
        case "gremlin":
            delay = f" of {format_duration(fault.delay)}" if fault.gremlin == "latency" else ""
            lasts = f" for {format_duration(fault.ttl)}" if fault.ttl else ""
            return f"{fault.gremlin}{delay} on {percent(fault.rate)}{lasts}"
        case "kill":
            after = f", back after {format_duration(fault.restart_after)}" if fault.restart_after else ""
            return f"kill -9 of {fault.kill}{after}"
        case "stop":
            return f"{fault.stop} stopped for {format_duration(fault.lasting or 0)}"
        case "restart":
            return f"rolling restart of {fault.restart}"
        case "flush":
            return "Redis flushed"


def _api_name(gremlin: str) -> str:
    return gremlin.replace("-", "_")
