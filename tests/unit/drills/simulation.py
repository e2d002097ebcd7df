"""Runs a drill without a platform: time is simulated, and a `World` determines orders, breakers, queue and audit."""

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self
from unittest.mock import patch

import msgspec

from tests.unit.drills.samples import NOON
from valerix_cli import waiting
from valerix_cli.audit import model
from valerix_cli.audit.model import Audit, Coverage, Finding, Invariant
from valerix_cli.drills import background_load, phases, runner
from valerix_cli.drills.model import Drill
from valerix_cli.drills.monitor import Sample
from valerix_cli.drills.parser import DrillFile
from valerix_cli.drills.receipt import Hit, Injection, Receipt
from valerix_cli.drills.run_request import RunRequest
from valerix_cli.drills.runner import Runner
from valerix_cli.errors import GuardError, UnreachableError
from valerix_cli.load import Plan
from valerix_cli.load.model import CompletedOrder

CLIENT_RATE = 5.0  # orders per second of a load by clients, whatever their number
RULES = [rule for rule in vars(model).values() if isinstance(rule, model.Rule)]


class World(msgspec.Struct, frozen=True, kw_only=True):
    """A platform whose state does not change during a run.

    Each order has `outcome` after `latency` seconds; without `is_sent` there are no orders. `breaker` is the state of
    one replica, `no replica` if none reports one, None if it cannot be read; `backlog` is None if the queue
    cannot be read. Each fault hits `hits` times; without `gremlins_readable`, activations cannot be read. `audit` is
    the kind of its result, `left_on` lists faults that cannot be turned off, and the load fails after `load_fails_at`
    seconds. Without `is_monitored` there are no samples; breakers cannot be read after `unreadable_after` seconds, and
    the lease is lost after `lost_after` seconds. `held_back` means that a worker's breaker is open. With
    `fault_fails`, the first fault cannot be injected.
    """

    outcome: str = "confirmed"
    latency: float = 0.02
    is_sent: bool = True
    breaker: str | None = "closed"
    backlog: int | None = 0
    hits: int = 3
    gremlins_readable: bool = True
    audit: str = "clean"
    left_on: tuple[str, ...] = ()
    load_fails_at: float | None = None
    is_monitored: bool = True
    lost_after: float | None = None
    unreadable_after: float | None = None
    held_back: bool = False
    fault_fails: bool = False


WELL = World()


class Clock:
    """Simulated time that only `sleep` advances. `on_advance` is called after each advance."""

    def __init__(self) -> None:
        self.now = 100.0
        self.on_advance: Callable[[], None] = lambda: None

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.on_advance()

    def perf_counter(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return NOON.timestamp() + self.now


def run(drill: Drill, world: World = WELL, script: list[Hit] | None = None) -> Receipt:
    """Run a drill in a world, or replay it with a script, and return its receipt."""
    clock = Clock()
    request = RunRequest(DrillFile(drill, "", "drill.yaml"), "a-run", Path("journal"), "again", Path(), script=script)
    context = SimpleNamespace(name="local", services={"order": ["http://x"]}, operator_token=None)
    session: Any = SimpleNamespace(context=context, inventory=None, orders=SimpleNamespace(platform=lambda: "here"))
    lease: Any = _Lease(world, clock)
    sources: Any = None  # only passed on
    with _patched(clock, world):
        return Runner(session, sources, request, {}, lease, lambda _: None).run()


@contextmanager
def _patched(clock: Clock, world: World) -> Iterator[None]:
    """Replace time, the platform and the audit in the modules of the runner."""
    fakes: dict[Any, dict[str, Any]] = {
        runner: {
            "time": clock,
            "preflight": lambda *_: "keys.",
            "fault_target": lambda *_: None,
            "audit": lambda *arguments: _audit(world, *arguments[1:]),
            "JournalWriter": _NoJournal,
            "Monitor": lambda _, time: _Monitor(world, time),
            "FaultScheduler": lambda drill, *_, clock, script, **__: _Faults(drill, world, clock, script),
        },
        phases: {"time": clock, "_POLL_INTERVAL": 0.25},
        waiting: {"time": clock},
        background_load: {
            "time": clock,
            "_POLL_INTERVAL": 0.25,
            "LoadGenerator": lambda plan, *_, on_completed, **__: _Load(plan, world, clock, on_completed),
            "run_in_thread": lambda load: load.result,
        },
    }
    with ExitStack() as stack:
        for module, names in fakes.items():
            stack.enter_context(patch.multiple(module, **names))
        yield


class _NoJournal:
    def __init__(self, *_: object) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...


class _Lease:
    def __init__(self, world: World, clock: Clock) -> None:
        self._clock, self._ends = clock, clock.now + (math.inf if world.lost_after is None else world.lost_after)

    @property
    def lost(self) -> GuardError | None:
        if self._clock.now < self._ends:
            return None
        return GuardError("The platform is another drill's.", "another run has it", "valerix chaos status")


class _Load:
    def __init__(self, plan: Plan, world: World, clock: Clock, on_completed: Callable[[CompletedOrder], None]) -> None:
        self._plan, self._world, self._clock, self._on_completed = plan, world, clock, on_completed
        self._rate, self._sent, self._ends = plan.rate or CLIENT_RATE, 0, plan.seconds
        self.began = clock.now
        self.result: Future[Any] = Future()
        clock.on_advance = self._go_on

    def finish(self) -> None:
        self._ends = min(self._ends, self._clock.now - self.began)

    stop = finish

    def _go_on(self) -> None:
        now, world = self._clock.now - self.began, self._world
        if self.result.done():
            return
        if world.load_fails_at is not None and now >= world.load_fails_at:
            self.result.set_exception(OSError("No space left on device"))
            return
        while (due := self._sent / self._rate) < self._ends and due + world.latency <= now and world.is_sent:
            self._on_completed(CompletedOrder(f"keys.{self._sent}", due, due + world.latency, world.outcome))
            self._sent += 1
        if now >= self._ends + world.latency:
            self.result.set_result(SimpleNamespace(requests=self._sent, outcomes={}, answers={}))


class _Faults:
    """Each fault begins at its time, or at the beginning if there is a script, and ends after a second."""

    def __init__(self, drill: Drill, world: World, clock: Callable[[], float], script: list[Hit] | None) -> None:
        self._drill, self._world, self._clock, self._is_scripted = drill, world, clock, script is not None
        self.injections: dict[int, Injection] = {}
        self.failures: list[Exception] = []

    @property
    def first_began(self) -> float | None:
        return min((one.began for one in self.injections.values()), default=None)

    @property
    def last_ended(self) -> float | None:
        return max(one.ended or 0.0 for one in self.injections.values()) if self.injections and self.are_over else None

    @property
    def hits(self) -> int:
        return sum(one.hits for one in self.injections.values())

    @property
    def are_over(self) -> bool:
        ended = [one.ended is not None for one in self.injections.values()]
        return len(ended) == len(self._drill.faults) and all(ended)

    def step(self) -> None:
        for number, fault in enumerate(self._drill.faults):
            known = self.injections.get(number)
            if known is None and (0.0 if self._is_scripted else fault.at) <= self._clock():
                self.injections[number] = Injection(
                    kind=fault.kind,
                    target=fault.target,
                    description=fault.description,
                    began=self._clock(),
                    rolls=9,
                    hits=self._world.hits,
                )
                if self._world.fault_fails:
                    self.failures.append(UnreachableError("No signal was sent.", "the process ended", "valerix status"))
            elif known is not None and known.ended is None and known.began + 1 <= self._clock():
                self.injections[number] = msgspec.structs.replace(known, ended=self._clock())

    def end_gremlins(self) -> None: ...

    def roll_back(self) -> list[str]:
        return [*self._world.left_on]

    def record_hits(self, _: object) -> None: ...


class _Monitor(_NoJournal):
    def __init__(self, world: World, clock: Callable[[], float]) -> None:
        super().__init__()
        self._world, self._clock = world, clock
        self._samples: list[Sample] = []
        self.transitions: dict[tuple[str, datetime], tuple[str, str]] = {}

    @property
    def samples(self) -> list[Sample]:
        """The samples so far, including one of this moment."""
        if self._world.is_monitored:
            self.sample()
        return self._samples

    @property
    def last(self) -> Sample | None:
        return self.sample() if self._world.is_monitored else None

    def sample(self) -> Sample:
        world = self._world
        is_unreadable = world.unreadable_after is not None and self._clock() > world.unreadable_after
        breakers = None if world.breaker is None or is_unreadable else {"order-1": "closed", "order-2": world.breaker}
        sample = Sample(
            at=self._clock(),
            breakers={} if world.breaker == "no replica" else breakers,
            held_back=None if breakers is None else world.held_back,
            backlog=world.backlog,
            backlog_age=None if world.backlog is None else float(world.backlog),
            dead=world.backlog,
            injected={} if world.gremlins_readable else None,
        )
        self._samples += [sample] if world.is_monitored else []
        return sample


def _audit(world: World, *journal: object) -> Audit:
    """Return an audit. The one before the run has no journal and only checks that the databases can be read."""
    if world.audit == "unreachable" and journal:
        raise UnreachableError("The audit could not be finished.", "the connection is closed", "valerix status")
    found = [
        _evaluated(rule, world) for rule in RULES if not (world.audit == "left-out" and rule is model.CACHE_AGREES)
    ]
    compared = Coverage({"confirmed": 9}, 18, 9, 0, 12, 21, 9)
    return Audit(model.conclude(found), NOON, 0.1, 60.0, compared, found, ["cached answers: Redis is away"])


def _evaluated(rule: model.Rule, world: World) -> Invariant:
    if world.audit == "not-checked" and rule is model.ACKNOWLEDGED_NOT_LOST:
        return rule.unchecked()
    wrong: dict[str, Sequence[model.Rule]] = {"violated": [model.NO_OVERSELL], "unsettled": [model.SETTLED]}
    return rule.evaluate(Finding(9, int(rule in wrong.get(world.audit, ()))))
