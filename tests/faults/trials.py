"""One trial: a process is struck at one of its steps with orders in hand, and each key still has exactly one effect.

What a trial does comes from its seed; what is checked afterwards is the audit of everything that is in its lane's
databases, every answer that a client was given, and that nothing was refused for no reason.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from tests.faults.customers import Customers, Told
from tests.faults.scenarios import Cell, Request, Scenario
from tests.faults.stages import LEASE, SETTLE_LIMIT, Row, Stage, is_stopped
from tests.processes import Service
from valerix_cli.audit import Audit

Outcome = Literal["held", "violated", "unsettled", "not-fired"]

QUIET = 1.0  # seconds without a strike after all is done: nobody will pass that point any more
STRIKE_WITHIN = 20.0
LONGEST_STOP = 5.0
LOOK_EVERY = 0.05  # seconds


class Halted(Exception):  # noqa: N818 - named for the reason
    """Somebody wants everything to end."""


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a trial. `settled_after` is in seconds from the strike to the last order's end.

    `taken_over` says whether others had finished or claimed all that a stopped process held before it was woken.
    `wrong` is empty unless something is; `evidence` then says what the databases, clients and logs say.
    """

    cell: Cell
    number: int
    again: int
    seed: str
    at: datetime
    outcome: Outcome
    fired: bool
    seconds: float
    orders: int = 0
    confirmed: int = 0
    sent: int = 0
    unanswered: int = 0
    taken_over: bool | None = None
    settled_after: float | None = None
    wrong: tuple[str, ...] = ()
    evidence: Any = None

    @property
    def is_over(self) -> bool:
        """Whether this trial has its result, or something is wrong: else it is repeated with another seed."""
        return self.outcome != "not-fired"


class Course(msgspec.Struct):
    """What happened so far in a trial that runs."""

    fired: bool = False
    taken_over: bool | None = None
    settled_after: float | None = None
    settled: bool = False


class Clock:
    """Waits, unless everything is to end."""

    def __init__(self, halt: threading.Event) -> None:
        self._halt = halt

    def until(self, look: Callable[[], bool], within: float) -> bool:
        """Whether `look` was true in time. Raises Halted."""
        deadline = time.monotonic() + within
        while not look():
            if time.monotonic() > deadline:
                return False
            self.pass_by(LOOK_EVERY)
        return True

    def pass_by(self, seconds: float) -> None:
        if self._halt.wait(seconds):
            raise Halted


def run(stage: Stage, scenario: Scenario, number: int, again: int, halt: threading.Event) -> Trial:
    """Run one trial to its end. Raises Halted; whatever is wrong is in what is returned."""
    at, began = datetime.now(UTC), time.monotonic()
    course, wrong = Course(), []
    customers = Customers(stage.shops(scenario), scenario.item_id, scenario.patience, stage.journal)
    audited: Audit | None = None
    try:
        _run(stage, scenario, customers, course, Clock(halt))
        audited = stage.audit()
        wrong = wrongs(scenario, customers.told, stage.rows(scenario.item_id), stage.left(scenario.item_id))
        wrong += [f"audit: {said.name}: {said.broken} broken" for said in audited.invariants if said.broken]
    except AssertionError as error:  # a process did not start, answer or end as it must
        if halt.is_set():
            raise Halted from error
        course.settled = False
        wrong = [str(error)]
    rows = stage.rows(scenario.item_id)
    outcome = _outcome(course, wrong, audited)
    wrong += [] if course.settled else [f"not settled within {SETTLE_LIMIT} s"]
    return Trial(
        cell=scenario.cell,
        number=number,
        again=again,
        seed=scenario.seed,
        at=at,
        outcome=outcome,
        fired=course.fired,
        seconds=round(time.monotonic() - began, 3),
        orders=len(rows),
        confirmed=sum(row.status == "confirmed" for row in rows),
        sent=customers.sent,
        unanswered=customers.unanswered,
        taken_over=course.taken_over,
        settled_after=course.settled_after,
        wrong=tuple(wrong),
        evidence=_evidence(stage, scenario, customers, audited) if wrong else None,
    )


def wrongs(scenario: Scenario, told: Sequence[Told], rows: Sequence[Row], left: int) -> list[str]:
    """What is not as it must be, of what clients were told and of what was refused."""
    by_key = {row.key: row for row in rows}
    wrong = [why for answer in told if (why := _contradiction(answer, by_key.get(answer.key)))]
    wrong += [
        f"{row.key} is {row.status} ({row.reason}), with {left} left for the {row.quantity} it wanted"
        for row in rows
        if row.status == "dead" or (row.status == "failed" and (scenario.covers_all or row.quantity <= left))
    ]
    return wrong


def _contradiction(told: Told, row: Row | None) -> str | None:
    """How an answer and the database contradict each other; None when they do not."""
    answer = f"{told.key} of {told.quantity} was answered {told.http_status} {told.order_status or told.problem}"
    if told.is_strange:
        return f"{answer}, which nobody should be told"
    if not told.is_final:
        return None
    if row is None or told.order_id != row.order_id:
        return f"{answer} for order {told.order_id}, and there is {row}"
    if (told.quantity == row.quantity) == (told.problem == "idempotency-key-reused"):
        return f"{answer}, and the key's order is of {row.quantity}"
    meant = {"confirmed": "confirmed", "failed": "failed", "insufficient-stock": "failed"}
    outcome = meant.get(told.order_status or told.problem or "")
    return f"{answer}, and is {row.status}" if outcome not in {None, row.status} else None


def _run(stage: Stage, scenario: Scenario, customers: Customers, course: Course, clock: Clock) -> None:
    struck = stage.prepare(scenario)
    with _buying(stage, scenario, customers) as bought:
        course.fired = _wait_struck(stage, scenario, struck, bought, clock)
        strike_at = stage.now()
        if course.fired and scenario.cell.strike == "stop":
            course.taken_over = _outlast(stage, scenario, clock)
            stage.wake(struck)
        elif course.fired:
            stage.start(struck)
        clock.until(bought.done, SETTLE_LIMIT)
        customers.go_home()
        bought.result()
        course.settled = clock.until(lambda: _all_final(stage, scenario), SETTLE_LIMIT)
    if course.fired and (ends := [row.updated_at for row in stage.rows(scenario.item_id)]):
        course.settled_after = round(max(0.0, (max(ends) - strike_at).total_seconds()), 3)
    _ask_again(stage, scenario, customers)


@contextmanager
def _buying(stage: Stage, scenario: Scenario, customers: Customers) -> Iterator[Future[None]]:
    """Have the customers buy beside the block, without their answers where the scenario says so."""

    def buy() -> None:
        try:
            customers.buy(scenario.requests, scenario.concurrency)
        finally:
            if scenario.way == "lost-answers":
                stage.calm()

    if scenario.way == "lost-answers":
        stage.lose_answers()
    with ThreadPoolExecutor(max_workers=1) as beside:
        try:
            yield beside.submit(buy)
        finally:
            customers.go_home()


def _wait_struck(stage: Stage, scenario: Scenario, struck: Service, bought: Future[None], clock: Clock) -> bool:
    """Wait until the process is dead or stopped, or nothing is left that could take it past its point."""

    def is_struck() -> bool:
        return is_stopped(struck) if scenario.cell.strike == "stop" else not struck.is_alive

    def over() -> bool:
        return is_struck() or (bought.done() and _all_final(stage, scenario))

    clock.until(over, STRIKE_WITHIN)
    if not clock.until(is_struck, QUIET):
        return False
    if scenario.cell.strike == "kill":
        code = struck.wait_killed()
        assert code == -signal.SIGKILL, f"{struck.name} ended with {code} by itself"
    return True


def _outlast(stage: Stage, scenario: Scenario, clock: Clock) -> bool:
    """Keep a stopped process so beyond its leases; return whether others took all it held, given the chance."""
    held = {row.key: row.token for row in stage.rows(scenario.item_id) if not row.is_final}
    until = time.monotonic() + LEASE * 1.2
    if scenario.cell.process != "order":  # orders have a second service, and the worker, all the time
        stage.start(stage.second(scenario.cell.process))

    def taken() -> bool:
        return all(row.is_final or row.token > held.get(row.key, 0) for row in stage.rows(scenario.item_id))

    taken_over = clock.until(taken, LONGEST_STOP)
    clock.pass_by(max(0.0, until - time.monotonic()))
    return taken_over


def _all_final(stage: Stage, scenario: Scenario) -> bool:
    return all(row.is_final for row in stage.rows(scenario.item_id))


def _ask_again(stage: Stage, scenario: Scenario, customers: Customers) -> None:
    """Have each order's client ask once more: everybody is back, and every key stands for its order."""
    asked = [Request(row.key, row.quantity) for row in stage.rows(scenario.item_id)]
    before = len(customers.told)
    later = Customers([stage.orders[0].url], scenario.item_id, 5.0, stage.journal)
    later.buy(asked, 4)
    customers.told += later.told
    customers.sent += later.sent
    customers.unanswered += later.unanswered
    answered = {told.key for told in customers.told[before:] if told.is_final}
    assert answered == {request.key for request in asked}, f"no answer for {len(asked) - len(answered)} keys afterwards"


def _outcome(course: Course, wrong: list[str], audited: Audit | None) -> Outcome:
    if wrong and audited is not None and audited.verdict != "unsettled":
        return "violated"
    if not course.settled or wrong:
        return "unsettled"
    return "held" if course.fired else "not-fired"


def _evidence(stage: Stage, scenario: Scenario, customers: Customers, audited: Audit | None) -> dict[str, Any]:
    return {
        "scenario": scenario,
        "told": customers.told,
        "audit": audited and [invariant for invariant in audited.invariants if invariant.broken],
        **stage.story(scenario.item_id),
    }
