"""Runs a drill: preflight, steady state, faults under load, recovery, drain, audit, roll-back, receipt.

Whatever happens on the way, Ctrl-C included, the faults are rolled back and a receipt is made.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from valerix_cli.audit import Audit, Sources, audit
from valerix_cli.drills import judging, verdict
from valerix_cli.drills.alone import Alone
from valerix_cli.drills.enforceable import RECENT
from valerix_cli.drills.faults import Faults
from valerix_cli.drills.figures import by_the_second, due_between, figures, of_platform, over_between
from valerix_cli.drills.judging import Evidence
from valerix_cli.drills.model import Drill
from valerix_cli.drills.preflight import preflight
from valerix_cli.drills.processes import victims
from valerix_cli.drills.reading import DrillFile
from valerix_cli.drills.receipt import Check, Event, Figures, Hit, Phase, Receipt
from valerix_cli.drills.requirements import Requirement
from valerix_cli.drills.watching import Watcher
from valerix_cli.errors import CliError, ExitCode
from valerix_cli.gates import Measured, as_floats
from valerix_cli.journal import JournalWriter
from valerix_cli.load import LoadGenerator, LoadResult, Plan
from valerix_cli.load.model import CompletedOrder
from valerix_cli.load.thread import run_in_thread
from valerix_cli.session import Session
from valerix_cli.signals import undisturbed
from valerix_cli.units import format_duration

_GLANCE = 0.05  # seconds
_DRAINED = 0.5  # seconds between two looks that both have to find nothing queued
_GRACE = 0.3  # seconds that the last orders of the steady window may still take
_SAY_EVERY = 5.0  # seconds

Tell = Callable[[str], None]


class Broken(Exception):  # noqa: N818 - a reason to stop, not a mistake
    """The drill is over before its time, and this is why."""


class Wanted(msgspec.Struct, frozen=True):
    """What is to be run, under which name, and where its journal goes.

    `key_prefix` and `script` are those of a run that is to be repeated; None for a new one.
    """

    file: DrillFile
    run: str
    journal: Path
    again: str
    directory: Path
    key_prefix: str | None = None
    script: list[Hit] | None = None
    replays: str | None = None


class Runner:
    """One run. `tell` hears what goes on, line by line."""

    def __init__(
        self,
        session: Session,
        sources: Sources,
        wanted: Wanted,
        versions: dict[str, str],
        alone: Alone,
        tell: Tell,
    ) -> None:
        self._session, self._sources, self._wanted, self._versions = session, sources, wanted, versions
        self._alone, self._say = alone, tell
        self._drill: Drill = wanted.file.drill
        self._orders: list[CompletedOrder] = []
        self._checks: list[Check] = []
        self._events: list[Event] = []
        self._figures: list[Figures] = []
        self._audit: Audit | None = None
        self._recovered_after: float | None = None
        self._load: LoadGenerator | None = None
        self._interrupted: ExitCode | None = None
        self._broken: str | None = None
        self._looks = [0] * len(self._drill.abort)  # that could tell whether to give up, by requirement
        self._came_true: int | None = None  # the number of the one that it was given up for
        self._last_said = 0.0

    def run(self) -> Receipt:
        """Raises CliError where the preflight fails; after that every way ends with a receipt."""
        began, started_at = time.monotonic(), datetime.now(UTC)
        wanted = self._wanted
        prefix = preflight(self._session, self._drill, wanted.run, wanted.directory, wanted.key_prefix, self._say)
        audit(self._sources)  # if it cannot be read, better now than at the end
        struck = victims(self._session.context, wanted.directory) if self._drill.strikes_processes else None
        with (
            JournalWriter(
                wanted.journal, f"drill {self._drill.name}", prefix, self._session.orders.platform()
            ) as journal,
            Watcher(self._session, self._clock) as watcher,
        ):
            self._watcher = watcher
            self._faults = Faults(
                self._drill,
                self._session.inventory,
                struck,
                clock=self._clock,
                tell=self._tell,
                script=self._wanted.script,
            )
            self._load = load = self._make_load(prefix, journal)
            self._result = result = run_in_thread(load)
            try:
                self._through_the_phases(load, result)
            except (KeyboardInterrupt, SystemExit) as end:
                self._interrupted = ExitCode.of(end)
                self._tell("interrupted: rolling back")
            except Broken as why:
                self._broken = str(why)
                self._tell(f"giving up: {why}")
            except CliError as error:
                self._broken = f"{error.what} {error.why}"
                self._tell(f"giving up: {self._broken}")
            with undisturbed():
                self._end_well(load, result)
                watcher.look()
        receipt = self._receipt(result, prefix, started_at, time.monotonic() - began)
        return verdict.concluded(receipt, self._interrupted, self._broken)

    def _through_the_phases(self, load: LoadGenerator, result: "Future[LoadResult]") -> None:
        while load.began is None and not result.done():
            time.sleep(_GLANCE)
        self._load_goes_on()
        if self._drill.steady and not self._is_steady():
            raise Broken("the platform is not in a steady state")
        self._break_things()
        self._recover()
        load.finish()
        self._drain(result)

    def _is_steady(self) -> bool:
        steady = self._drill.steady
        assert steady is not None  # noqa: S101 - asked for before # nosec B101
        self._tell(f"steady state for {format_duration(steady.window)}")
        self._pass(lambda: self._clock() >= steady.window + _GRACE, in_peace=True)
        checks = self._hold("steady", steady.require, 0.0, steady.window)
        return all(check.verdict == "held" for check in checks)

    def _break_things(self) -> None:
        drill = self._drill
        self._pass(lambda: self._clock() >= drill.load.seconds)
        self._faults.end_gremlins()
        self._pass(lambda: self._faults.are_over)

    def _recover(self) -> None:
        """Wait until all that was asked of a recovery holds at once, which may have been so before."""
        recover = self._drill.recover
        if recover is None:
            return
        deadline = self._clock() + recover.within
        if self._recovered_after is None:
            self._tell(f"recovering, within {format_duration(recover.within)}")
        self._pass(lambda: self._clock() >= deadline or judging.holds(recover.require, self._evidence_now()))
        evidence = self._evidence_now()
        checks = judging.judge("recover", recover.require, evidence)
        self._checks += checks
        self._figures.append(Figures(phase="recover", seconds=RECENT, measured=as_floats(evidence.measured)))
        self._note_recovery()

    def _note_recovery(self) -> None:
        """Take down when everything held for the first time after the last fault."""
        recover, over = self._drill.recover, self._last_fault_over()
        if recover is None or over is None or self._recovered_after is not None:
            return
        if judging.holds(recover.require, self._evidence_now()):
            self._recovered_after = round(self._clock() - over, 2)
            self._tell(f"recovered after {format_duration(self._recovered_after)}")

    def _drain(self, result: "Future[LoadResult]") -> None:
        """Wait until every order is answered and none is queued."""
        self._tell("draining")
        deadline = time.monotonic() + self._drill.drain
        while not result.done() and time.monotonic() < deadline:
            time.sleep(_GLANCE)
        empty = 0
        while time.monotonic() < deadline and empty < 2:  # noqa: PLR2004 - once may be between two claims
            empty = empty + 1 if self._watcher.look().backlog == 0 else 0
            time.sleep(_DRAINED)
        self._load_goes_on()
        seen = self._watcher.last
        self._checks.append(
            judging.drained(
                unanswered=not result.done(),
                is_empty=empty >= 2,  # noqa: PLR2004 - the same
                left=seen.backlog if seen else None,
                within=self._drill.drain,
            )
        )

    def _end_well(self, load: LoadGenerator, result: "Future[LoadResult]") -> None:
        """Roll back, see the load off, judge what is left to judge, audit: on every way out."""
        load.finish() if self._interrupted is None else load.stop()
        left = self._faults.roll_back()
        self._checks.append(judging.rolled_back(self._drill, left))
        self._tell("rolled back: all faults are off" if not left else f"NOT rolled back: {'; '.join(left)}")
        deadline = time.monotonic() + self._drill.load.timeout + 5
        while not result.done() and time.monotonic() < deadline:
            time.sleep(_GLANCE)
        injected = self._watcher.look().injected
        if injected:
            self._faults.count(injected)
        if self._interrupted is None:
            self._judge_faults()
            self._prove()
        self._checks += judging.never(self._drill.abort, self._looks, self._came_true)
        self._checks += judging.not_come_to(self._drill, self._checks)

    def _judge_faults(self) -> None:
        began = self._faults.first_began
        if self._broken and began is None:
            return
        begin = 0.0 if began is None else began
        self._hold("faults", self._drill.expect, begin, self._drill.load.seconds)
        self._checks.append(judging.answered(self._orders))
        lost = self._alone.lost.why if self._alone.lost else None
        self._checks.append(
            judging.by_itself(self._drill, self._faults.injections.values(), self._watcher.sightings, lost)
        )
        self._checks += judging.fired(self._drill, self._faults.injections)

    def _prove(self) -> None:
        self._tell("auditing")
        try:
            self._audit = found = audit(self._sources, self._wanted.journal, float(self._drill.drain))
        except CliError as error:
            self._checks.append(Check("audit", "the audit", "not-measured", str(error)))
            return
        self._checks += judging.of_audit(self._drill, found)

    def _hold(self, phase: Phase, require: Sequence[Requirement], begin: float, end: float) -> list[Check]:
        """Hold requirements against the orders that were due in that time, and keep the figures."""
        orders = due_between(self._orders, begin, end)
        measured = figures(orders, end - begin) | self._platform_now()
        checks = judging.judge(phase, require, self._evidence(measured))
        self._checks += checks
        self._figures.append(Figures(phase=phase, seconds=round(end - begin, 3), measured=as_floats(measured)))
        return checks

    def _pass(self, enough: Callable[[], bool], *, in_peace: bool = False) -> None:
        """Let time pass until it is enough, make faults happen, and give up where the drill says so."""
        while not enough():
            if not in_peace or self._wanted.script is not None:  # a script hits nothing before its time
                self._faults.step()
            if wrong := [*self._faults.failures, *filter(None, [self._alone.lost])]:
                raise wrong[0]
            self._load_goes_on()
            for number, requirement in enumerate(self._drill.abort):
                if self._calls_for_an_end(number, requirement):
                    self._came_true = number
                    raise Broken(f"abort: {requirement.text}")
            self._say_now_and_then()
            if not in_peace:
                self._note_recovery()
            time.sleep(_GLANCE)

    def _load_goes_on(self) -> None:
        """Give up where it broke off, as when its journal cannot be written."""
        if self._result.done() and (error := self._result.exception()):
            raise Broken(f"the load broke off: {error}")

    def _calls_for_an_end(self, number: int, requirement: Requirement) -> bool:
        """Whether something holds that a drill is to be given up for; figures are over as long as it has to last."""
        now, over = self._clock(), requirement.lasting or RECENT
        if now < over:
            return False
        measured = figures(over_between(self._orders, now - over, now), over) | self._platform_now()
        (check,) = judging.judge("faults", [requirement], self._evidence(measured))
        self._looks[number] += check.verdict != "not-measured"
        return check.verdict == "held"

    def _evidence_now(self) -> Evidence:
        """What the last seconds say, by orders that no fault has met: those were due before it was over."""
        now, calm = self._clock(), self._last_fault_over() or 0.0
        orders = [seen for seen in over_between(self._orders, now - RECENT, now) if seen.due >= calm]
        return self._evidence(figures(orders, min(RECENT, now - calm)) | self._platform_now())

    def _evidence(self, measured: Mapping[str, Measured | None]) -> Evidence:
        first = self._faults.first_began or 0.0
        return judging.evidence(measured, self._watcher.sightings, self._said_to_open(), first)

    def _platform_now(self) -> dict[str, Measured | None]:
        hits: float = sum(injection.hits for injection in self._faults.injections.values())
        return of_platform(self._watcher.last) | {"injected": hits}

    def _said_to_open(self) -> list[float]:
        """When breakers say that they opened, in seconds since the load began."""
        began = self._load_began_at()
        transitions = list(self._watcher.transitions.items())
        return [(moment - began).total_seconds() for (_, moment), (to, _) in transitions if to == "open"]

    def _load_began_at(self) -> datetime:
        return datetime.fromtimestamp(time.time() - self._clock(), UTC)

    def _last_fault_over(self) -> float | None:
        """When the last fault was over; None before, without any, and while gremlins follow a script to the end."""
        ends = [injection.ended for injection in self._faults.injections.values()]
        known = [end for end in ends if end is not None]
        return max(known) if known and len(known) == len(ends) and self._faults.are_over else None

    def _clock(self) -> float:
        """Seconds since the load began; below 0 before."""
        began = self._load.began if self._load else None
        return -1.0 if began is None else time.perf_counter() - began

    def _make_load(self, key_prefix: str, journal: JournalWriter) -> LoadGenerator:
        wanted, context = self._drill.load, self._session.context
        extra = self._drill.recover.within + RECENT if self._drill.recover else 0.0
        plan = Plan(
            rate=wanted.rate,
            clients=wanted.clients,
            seconds=wanted.seconds + extra,
            seed=self._drill.seed,
            key_prefix=key_prefix,
            items=wanted.items,
            mix=wanted.mix,
            quantity=wanted.quantity,
            repeats=wanted.repeats,
            retries=wanted.retry.times,
            timeout=wanted.timeout,
        )
        headers = {"Authorization": f"Bearer {context.operator_token}"} if context.operator_token else {}
        return LoadGenerator(
            plan, context.services["order"], headers, journal=journal, on_completed=self._orders.append
        )

    def _tell(self, what: str) -> None:
        at = max(0.0, self._clock())
        self._events.append(Event(round(at, 2), what))
        self._say(f"{at:6.1f} s  {what}")

    def _say_now_and_then(self) -> None:
        now = self._clock()
        if now - self._last_said < _SAY_EVERY:
            return
        self._last_said = now
        recent, seen = figures(over_between(self._orders, now - _SAY_EVERY, now), _SAY_EVERY), self._watcher.last
        self._say(f"{now:6.1f} s  {verdict.in_short(as_floats(recent), seen)}")

    def _receipt(self, result: "Future[LoadResult]", key_prefix: str, started_at: datetime, seconds: float) -> Receipt:
        hits, complete = self._hits()
        load = result.result() if result.done() and not result.exception() else None
        file = self._wanted.file
        return Receipt(
            run=self._wanted.run,
            drill=self._drill.name,
            teaches=self._drill.teaches,
            source=file.origin,
            text=file.text,
            seed=self._drill.seed,
            key_prefix=key_prefix,
            started_at=started_at,
            seconds=round(seconds, 2),
            context=self._session.context.name,
            versions=self._versions,
            again=self._wanted.again,
            outcome="passed",
            exit_code=0,
            why=[],
            checks=sorted(self._checks, key=lambda check: _IN_TURN.index(check.phase)),
            injections=[*self._faults.injections.values()],
            hits=hits,
            hits_complete=complete,
            opened_after=None if self._faults.first_began is None else self._evidence({}).opened_after,
            recovered_after=self._recovered_after,
            orders=len(self._orders),
            requests=load.requests if load else 0,
            outcomes=load.outcomes if load else {},
            answers=load.answers if load else {},
            figures=self._figures,
            events=self._events,
            timeline=by_the_second(self._orders, self._watcher.sightings),
            audit=self._audit,
            journal=str(self._wanted.journal),
            replays=self._wanted.replays,
        )

    def _hits(self) -> tuple[list[Hit], bool]:
        """Every attempt that gremlins got at, and whether that is all."""
        activations = [one for injection in self._faults.injections.values() for one in injection.activations]
        hits: set[Hit] = set()
        complete = True
        for activation in dict.fromkeys(activations):
            try:
                found = self._session.inventory.hits(activation)
            except CliError:
                complete = False
                continue
            hits |= {Hit(str(hit.order_id), hit.attempt, hit.gremlin) for hit in found.hits}
            complete = complete and found.complete
        return sorted(hits), complete


_IN_TURN: tuple[Phase, ...] = ("steady", "faults", "recover", "drain", "audit", "roll-back")
