"""One trial: a process is struck at a crash point while it handles orders, and each key still has exactly one effect.

The seed determines a trial. Afterwards it checks the audit of everything in its lane's databases, every response that a
client got, and that no order was refused without a reason.
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

from tests.faults.retrying_clients import Customers, OrderResponse
from tests.faults.scenarios import Cell, Request, Scenario
from tests.faults.trial_platform import LEASE, SETTLE_LIMIT, Row, Stage, is_stopped, leave
from tests.processes import Service
from valerix_cli.audit import Audit

Outcome = Literal["held", "violated", "unsettled", "not-fired"]

QUIET = 1.0  # seconds without a strike after all orders are done: the point will not be reached any more
STRIKE_WITHIN = 90.0  # seconds
LONGEST_STOP = 5.0  # seconds
LOOK_EVERY = 0.05  # seconds


class Halted(Exception):  # noqa: N818 - named for the reason
    """A request to end everything."""


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """Result of a trial. `settled_after` is the seconds from the strike to the last order's end.

    `taken_over` is whether other processes had finished or claimed all unfinished orders of a stopped process before it
    was continued; None if there were none. `wrong` is empty unless a check failed; `evidence` then has the contents of
    databases, journals and logs.
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
        """True if the trial has a result or a check failed; else it is repeated with another seed."""
        return self.outcome != "not-fired"


class Course(msgspec.Struct):
    """State of a running trial. `troubles`: processes that did not start, respond, settle or exit as required."""

    fired: bool = False
    taken_over: bool | None = None
    settled_after: float | None = None
    troubles: list[str] = []


class Clock:
    """Waits, unless everything has to end."""

    def __init__(self, halt: threading.Event) -> None:
        self._halt = halt

    def until(self, look: Callable[[], bool], within: float) -> bool:
        """Return whether `look` became true in time. Raises Halted."""
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
    """Run one trial to its end. Raises Halted; failed checks are in the result."""
    at, began, course = datetime.now(UTC), time.monotonic(), Course()
    customers = Customers(stage.shops(scenario), scenario.item_id, scenario.patience, stage.journal)
    try:
        _run(stage, scenario, customers, course, Clock(halt))
    except AssertionError as error:
        if halt.is_set():
            raise Halted from error
        course.troubles.append(str(error))
    audited, rows = stage.audit(), stage.rows(scenario.item_id)
    wrong = wrongs(scenario, customers.received, rows, stage.left(scenario.item_id)) + _found(audited, "violated")
    troubles = course.troubles + _found(audited, "unsettled")
    troubles += [f"{row.key} is {row.status} ({row.reason})" for row in rows if row.status == "dead"]
    outcome: Outcome = "held" if course.fired else "not-fired"
    return Trial(
        cell=scenario.cell,
        number=number,
        again=again,
        seed=scenario.seed,
        at=at,
        outcome="violated" if wrong else "unsettled" if troubles else outcome,
        fired=course.fired,
        seconds=round(time.monotonic() - began, 3),
        orders=len(rows),
        confirmed=sum(row.status == "confirmed" for row in rows),
        sent=customers.sent,
        unanswered=customers.unanswered,
        taken_over=course.taken_over,
        settled_after=course.settled_after,
        wrong=(*wrong, *troubles),
        evidence=_evidence(stage, scenario, customers, audited) if wrong or troubles else None,
    )


def wrongs(scenario: Scenario, responses: Sequence[OrderResponse], rows: Sequence[Row], left: int) -> list[str]:
    """Return the failed checks of responses and refusals."""
    by_key = {row.key: row for row in rows}
    wrong = [why for answer in responses if (why := _contradiction(answer, by_key.get(answer.key)))]
    wrong += [
        f"{row.key} is failed ({row.reason}), with {left} left for the {row.quantity} it wanted"
        for row in rows
        if row.status == "failed" and (scenario.covers_all or row.quantity <= left)
    ]
    return wrong


def _contradiction(response: OrderResponse, row: Row | None) -> str | None:
    """Return how a response contradicts the database; None if it does not."""
    result = response.order_status or response.problem
    answer = f"{response.key} of {response.quantity} was answered {response.http_status} {result}"
    if response.is_strange:
        return f"{answer}, which nobody should be told"
    if not response.is_final:
        return None
    if row is None or response.order_id != row.order_id:
        return f"{answer} for order {response.order_id}, and there is {row}"
    if (response.quantity == row.quantity) == (response.problem == "idempotency-key-reused"):
        return f"{answer}, and the key's order is of {row.quantity}"
    meant = {"confirmed": "confirmed", "failed": "failed", "insufficient-stock": "failed"}
    outcome = meant.get(result or "")
    return f"{answer}, and is {row.status}" if outcome not in {None, row.status} else None


def _run(stage: Stage, scenario: Scenario, customers: Customers, course: Course, clock: Clock) -> None:
    struck = stage.prepare(scenario)
    with _beside(customers, lambda: _buy(stage, scenario, customers)) as bought:
        course.fired = _wait_struck(stage, scenario, struck, bought, clock)
        strike_at = stage.now()
        if course.fired and scenario.cell.strike == "stop":
            course.taken_over = _outlast(stage, scenario, clock)
            stage.wake(struck)
        elif course.fired:
            stage.start(struck)
        clock.until(bought.done, SETTLE_LIMIT)
    if not clock.until(lambda: _all_final(stage, scenario), SETTLE_LIMIT):
        course.troubles.append(f"not settled within {SETTLE_LIMIT} s")
    if course.fired:  # else its point is still armed, and a request might trigger it
        ends = [row.updated_at for row in stage.rows(scenario.item_id)]
        course.settled_after = round(max((max(ends, default=strike_at) - strike_at).total_seconds(), 0.0), 3)
        _ask_again(stage, scenario, customers, clock)
    leave(struck)  # let it finish its work before the checks


@contextmanager
def _beside(customers: Customers, errand: Callable[[], None]) -> Iterator[Future[None]]:
    """Run the customers' `errand` during the block. At its end they stop repeating; errors of the errand are raised."""
    with ThreadPoolExecutor(max_workers=1) as beside:
        running = beside.submit(errand)
        try:
            yield running
        finally:
            customers.go_home()
    running.result()


def _buy(stage: Stage, scenario: Scenario, customers: Customers) -> None:
    """Send the customers' orders; inventory's responses are lost meanwhile if the scenario requires it."""
    if scenario.way != "lost-answers":
        return customers.buy(scenario.requests, scenario.concurrency)
    stage.lose_answers()
    try:
        return customers.buy(scenario.requests, scenario.concurrency)
    finally:
        stage.calm()


def _wait_struck(stage: Stage, scenario: Scenario, struck: Service, bought: Future[None], clock: Clock) -> bool:
    """Wait until the process is dead or stopped, or no work is left that could trigger the crash point.

    Return whether it was struck.
    """

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


def _outlast(stage: Stage, scenario: Scenario, clock: Clock) -> bool | None:
    """Keep a stopped process stopped beyond its leases, and let others take over its orders.

    Return whether they took all of them; None if there were none.
    """
    held = {row.key: row.token for row in stage.rows(scenario.item_id) if not row.is_final}
    until = time.monotonic() + LEASE * 1.2
    if scenario.cell.process != "order":  # orders always have a second service, and the worker
        stage.start(stage.second(scenario.cell.process))

    def taken() -> bool:
        return all(row.is_final or row.token > held.get(row.key, 0) for row in stage.rows(scenario.item_id))

    taken_over = clock.until(taken, LONGEST_STOP)
    clock.pass_by(max(0.0, until - time.monotonic()))
    return taken_over if held else None


def _all_final(stage: Stage, scenario: Scenario) -> bool:
    return all(row.is_final for row in stage.rows(scenario.item_id))


def _ask_again(stage: Stage, scenario: Scenario, customers: Customers, clock: Clock) -> None:
    """Repeat each order once more: all services are back, and every key has a final response."""
    asked = [Request(row.key, row.quantity) for row in stage.rows(scenario.item_id)]
    later = Customers([stage.orders[0].url], scenario.item_id, 5.0, stage.journal)
    with _beside(later, lambda: later.buy(asked, 4)) as done:
        clock.until(done.done, SETTLE_LIMIT)
    customers.received += later.received
    customers.sent += later.sent
    customers.unanswered += later.unanswered
    unanswered = {request.key for request in asked} - {response.key for response in later.received if response.is_final}
    assert not unanswered, f"no answer afterwards for {', '.join(sorted(unanswered))}"


def _found(audited: Audit, verdict: str) -> list[str]:
    """Return the audit's invariants with this verdict, with examples."""
    return [
        f"audit: {rule.name}: {rule.broken}, {', '.join(f'{each.subject} {each.wrong}' for each in rule.examples)}"
        for rule in audited.invariants
        if rule.verdict == verdict
    ]


def _evidence(stage: Stage, scenario: Scenario, customers: Customers, audited: Audit) -> dict[str, Any]:
    return {
        "scenario": scenario,
        "responses": customers.received,
        "audit": [invariant for invariant in audited.invariants if invariant.broken],
        **stage.story(scenario.item_id),
    }
