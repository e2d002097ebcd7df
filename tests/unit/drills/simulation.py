"""A drill's runner without a platform: time is a number, and orders, breaker, queue, faults and audit are as told."""

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self
from unittest.mock import patch

import msgspec

from tests.unit.drills.samples import NOON
from valerix_cli.audit import model
from valerix_cli.audit.model import Audit, Coverage, Finding, Invariant
from valerix_cli.drills import runner
from valerix_cli.drills.faults import say
from valerix_cli.drills.model import Drill
from valerix_cli.drills.reading import DrillFile
from valerix_cli.drills.receipt import Injection, Receipt
from valerix_cli.drills.runner import Runner, Wanted
from valerix_cli.drills.watching import Sighting
from valerix_cli.errors import GuardError, UnreachableError
from valerix_cli.load import Plan
from valerix_cli.load.model import CompletedOrder

PACE = 5.0  # orders a second of clients, whose number does not matter here
RULES = [rule for rule in vars(model).values() if isinstance(rule, model.Rule)]


class World(msgspec.Struct, frozen=True, kw_only=True):
    """A platform that is the same from beginning to end.

    Each order comes to `said` after `latency` seconds; there are none where nothing `is_sent`. `breaker` is the state
    of the one replica, `no replica` where none tells, None where nobody answers; `backlog` is None where the queue does
    not say. Each fault hits `hits` times; nobody knows of others unless `gremlins_tell`. `audit` says what comes of it,
    `left_on` which faults stay, and `breaks_off` when the load does. Nobody has looked yet unless it `is_watched`, and
    nobody tells of breakers `blind_after` so many seconds; after `lost_after` another drill has the platform. A
    worker's breaker is open where it is `held_back`.
    """

    said: str = "confirmed"
    latency: float = 0.02
    is_sent: bool = True
    breaker: str | None = "closed"
    backlog: int | None = 0
    hits: int = 3
    gremlins_tell: bool = True
    audit: str = "clean"
    left_on: tuple[str, ...] = ()
    breaks_off: float | None = None
    is_watched: bool = True
    lost_after: float | None = None
    blind_after: float | None = None
    held_back: bool = False


WELL = World()


class Clock:
    """Stands still but for `sleep`, which lets happen what is due by then."""

    def __init__(self) -> None:
        self.now = 100.0
        self.happen: Callable[[], None] = lambda: None

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.happen()

    def perf_counter(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return NOON.timestamp() + self.now


def run(drill: Drill, world: World = WELL) -> Receipt:
    """What comes of a drill in such a world."""
    clock = Clock()
    wanted = Wanted(DrillFile(drill, "", "drill.yaml"), "a-run", Path("journal"), "again", Path())
    context = SimpleNamespace(name="local", services={"order": ["http://x"]}, operator_token=None)
    session: Any = SimpleNamespace(context=context, inventory=None, orders=SimpleNamespace(platform=lambda: "here"))
    alone: Any = _Alone(world, clock)
    nothing: Any = None  # which is only passed on
    with _instead(clock, world):
        return Runner(session, nothing, wanted, {}, alone, lambda _: None).run()


@contextmanager
def _instead(clock: Clock, world: World) -> Iterator[None]:
    stand_ins: dict[str, Any] = {
        "time": clock,
        "_GLANCE": 0.25,
        "preflight": lambda *_: "keys.",
        "victims": lambda *_: None,
        "audit": lambda *arguments: _audit(world, *arguments[1:]),
        "JournalWriter": _Nothing,
        "Watcher": lambda _, time: _Watcher(world, time),
        "Faults": lambda drill, *_, clock, **__: _Faults(drill, world, clock),
        "LoadGenerator": lambda plan, *_, on_completed, **__: _Load(plan, world, clock, on_completed),
        "run_in_thread": lambda load: load.result,
    }
    with patch.multiple(runner, **stand_ins):
        yield


class _Nothing:
    def __init__(self, *_: object) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...


class _Alone:
    def __init__(self, world: World, clock: Clock) -> None:
        self._clock, self._ends = clock, clock.now + (math.inf if world.lost_after is None else world.lost_after)

    @property
    def lost(self) -> GuardError | None:
        if self._clock.now < self._ends:
            return None
        return GuardError("The platform is another drill's.", "another run has it", "valerix chaos status")


class _Load:
    def __init__(self, plan: Plan, world: World, clock: Clock, watch: Callable[[CompletedOrder], None]) -> None:
        self._plan, self._world, self._clock, self._watch = plan, world, clock, watch
        self._pace, self._sent, self._ends = plan.rate or PACE, 0, plan.seconds
        self.began = clock.now
        self.result: Future[Any] = Future()
        clock.happen = self._go_on

    def finish(self) -> None:
        self._ends = min(self._ends, self._clock.now - self.began)

    stop = finish

    def _go_on(self) -> None:
        now, world = self._clock.now - self.began, self._world
        if self.result.done():
            return
        if world.breaks_off is not None and now >= world.breaks_off:
            self.result.set_exception(OSError("No space left on device"))
            return
        while (due := self._sent / self._pace) < self._ends and due + world.latency <= now and world.is_sent:
            self._watch(CompletedOrder(f"keys.{self._sent}", due, due + world.latency, world.said))
            self._sent += 1
        if now >= self._ends + world.latency:
            self.result.set_result(SimpleNamespace(requests=self._sent, outcomes={}, answers={}))


class _Faults:
    """Each begins at its time, and is over after a second."""

    def __init__(self, drill: Drill, world: World, clock: Callable[[], float]) -> None:
        self._drill, self._world, self._clock = drill, world, clock
        self.injections: dict[int, Injection] = {}
        self.failures: list[Exception] = []

    @property
    def first_began(self) -> float | None:
        return min((one.began for one in self.injections.values()), default=None)

    @property
    def are_over(self) -> bool:
        ended = [one.ended is not None for one in self.injections.values()]
        return len(ended) == len(self._drill.faults) and all(ended)

    def step(self) -> None:
        for number, fault in enumerate(self._drill.faults):
            known = self.injections.get(number)
            if known is None and fault.at <= self._clock():
                hits = self._world.hits
                self.injections[number] = Injection(
                    kind=fault.kind, target=fault.target, says=say(fault), began=self._clock(), rolls=9, hits=hits
                )
            elif known is not None and known.ended is None and known.began + 1 <= self._clock():
                self.injections[number] = msgspec.structs.replace(known, ended=self._clock())

    def end_gremlins(self) -> None: ...

    def roll_back(self) -> list[str]:
        return [*self._world.left_on]

    def count(self, _: object) -> None: ...


class _Watcher(_Nothing):
    def __init__(self, world: World, clock: Callable[[], float]) -> None:
        super().__init__()
        self._world, self._clock = world, clock
        self._seen: list[Sighting] = []
        self.transitions: dict[tuple[str, datetime], tuple[str, str]] = {}

    @property
    def sightings(self) -> list[Sighting]:
        """Those so far, one of this moment included."""
        if self._world.is_watched:
            self.look()
        return self._seen

    @property
    def last(self) -> Sighting | None:
        return self.look() if self._world.is_watched else None

    def look(self) -> Sighting:
        world = self._world
        is_blind = world.blind_after is not None and self._clock() > world.blind_after
        breakers = None if world.breaker is None or is_blind else {"order-1": "closed", "order-2": world.breaker}
        seen = Sighting(
            at=self._clock(),
            breakers={} if world.breaker == "no replica" else breakers,
            held_back=None if breakers is None else world.held_back,
            backlog=world.backlog,
            backlog_age=None if world.backlog is None else float(world.backlog),
            dead=world.backlog,
            injected={} if world.gremlins_tell else None,
        )
        self._seen += [seen] if world.is_watched else []
        return seen


def _audit(world: World, *journal: object) -> Audit:
    """What the audit says; the one before the run, without a journal, only tries whether it can be read."""
    if world.audit == "unreachable" and journal:
        raise UnreachableError("The audit could not be finished.", "the connection is closed", "valerix status")
    found = [_judged(rule, world) for rule in RULES if not (world.audit == "left-out" and rule is model.CACHE_AGREES)]
    compared = Coverage({"confirmed": 9}, 18, 9, 0, 12, 21, 9)
    return Audit(model.conclude(found), NOON, 0.1, 60.0, compared, found, ["cached answers: Redis is away"])


def _judged(rule: model.Rule, world: World) -> Invariant:
    if world.audit == "not-checked" and rule is model.ACKNOWLEDGED_NOT_LOST:
        return rule.unchecked()
    wrong: dict[str, Sequence[model.Rule]] = {"violated": [model.NO_OVERSELL], "unsettled": [model.SETTLED]}
    return rule.evaluate(Finding(9, int(rule in wrong.get(world.audit, ()))))
