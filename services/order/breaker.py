"""The circuit breaker: pybreaker's states, listeners and trip logic, made asynchronous and rate-based.

pybreaker counts consecutive failures and wraps calls; we ask it before a call (`admit`) and tell it after
(`Ticket`), so no lock is held across an await. Its failure counter becomes the failure percentage of a rolling
window, its `fail_max` the threshold. A result that began under an earlier state is dropped.
"""

import contextlib
import math
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal

import msgspec
import pybreaker

from services.order.window import SUCCESS, RollingWindow, describe, failure_percent

State = Literal["closed", "open", "half-open"]
Forced = Literal["open", "closed"]

TRIAL_RETRY = 0.3  # seconds until a call refused beside a trial may ask again


class Transition(msgspec.Struct, frozen=True, rename={"from_": "from"}):
    """A change of state: when, from what to what, and why."""

    at: datetime
    from_: str
    to: str
    reason: str


class Rejected(Exception):  # noqa: N818 - a refusal, not an error
    """The breaker holds the call back; worth asking again in `retry_in` seconds."""

    def __init__(self, reason: str, retry_in: float) -> None:
        super().__init__(reason)
        self.retry_in = retry_in


class CallFailed(Exception):  # noqa: N818 - what pybreaker wants raised
    """What a ticket tells pybreaker of a failure."""


class Ticket:
    """The right to make one call. Exactly one of its methods is to be called; later calls do nothing."""

    def __init__(self, breaker: "Breaker", generation: int) -> None:
        self._breaker = breaker
        self._generation = generation
        self._used = False

    def succeeded(self) -> None:
        """The dependency did its work; a refusal for a good reason is that too."""
        self._use(SUCCESS)

    def failed(self, cause: str) -> None:
        self._use(cause)

    def withdrawn(self) -> None:
        """The call decided nothing: cancelled, or never made."""
        self._use(None)

    def _use(self, outcome: str | None) -> None:
        if not self._used:
            self._used = True
            self._breaker.tell(outcome, self._generation)


class _WindowStorage(pybreaker.CircuitMemoryStorage):
    """pybreaker's storage, whose failure counter is the percentage of the window, 0 below the minimum of calls."""

    def __init__(self, window: RollingWindow, minimum_calls: int) -> None:
        super().__init__(pybreaker.STATE_CLOSED)
        self._window = window
        self._minimum = minimum_calls

    def increment_counter(self) -> None:
        """Nothing: the window has the call already."""

    def reset_counter(self) -> None:
        """Nothing: a success does not wipe out the failures around it."""

    @property
    def counter(self) -> int:
        outcomes = self._window.outcomes()
        return math.floor(failure_percent(outcomes)) if sum(outcomes.values()) >= self._minimum else 0


class Breaker(pybreaker.CircuitBreaker):
    """One replica's own view of one dependency.

    `on_transition` hears of each change of state, `on_call` of each call's outcome (`rejected` included).
    """

    def __init__(
        self,
        *,
        window_seconds: float = 10.0,
        minimum_calls: int = 5,
        threshold_percent: int = 50,
        open_seconds: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
        on_transition: Callable[[Transition], None] = lambda _: None,
        on_call: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.window = RollingWindow(window_seconds, clock)
        self.minimum_calls = minimum_calls
        self.forced: Forced | None = None
        self.since = datetime.now(UTC)
        self.reason: str | None = None
        self._clock = clock
        self._on_transition = on_transition
        self._on_call = on_call
        self._opened_at = -math.inf
        self._generation = 0
        self._trial_runs = False
        super().__init__(
            fail_max=threshold_percent,
            reset_timeout=open_seconds,
            state_storage=_WindowStorage(self.window, minimum_calls),
            throw_new_error_on_trip=False,
        )

    @property
    def state_name(self) -> State:
        name = self.current_state
        assert name in {"closed", "open", "half-open"}  # noqa: S101 - pybreaker has no other # nosec B101
        return name  # type: ignore[return-value]  # narrowed by the line above

    @property
    def shown(self) -> State:
        """What holds now: what an operator forces, else the state."""
        return self.forced or self.state_name

    def admit(self) -> Ticket:
        """Return the right to make one call, or raise Rejected."""
        if self.forced is None:
            self._admit_by_state()
        elif self.forced == "open":
            self._reject("forced open by an operator", self.reset_timeout)
        return Ticket(self, self._generation)

    def retry_in(self) -> float:
        """Seconds until a call may be admitted; 0 when one may be now."""
        if self.forced == "open":
            return self.reset_timeout
        if self.forced is None and self.state_name == "open":
            return max(0.0, self._opened_at + self.reset_timeout - self._clock())
        return 0.0

    def tick(self) -> None:
        """Become half-open once the open period has passed, so that it shows without a call."""
        if self.forced is None and self.state_name == "open" and self.retry_in() == 0:
            self._move("half-open", f"{self.reset_timeout:g} s have passed, the next call is a trial")

    def force(self, forced: Forced | None) -> None:
        """Override the state, or with None let the calls decide again, from a clean closed state."""
        if forced == self.forced:
            return
        before = self.shown
        self.forced = forced
        self._generation += 1
        self._trial_runs = False
        self.window.clear()
        self.close()
        after = forced or "closed"
        self._announce(before, after, f"forced {forced} by an operator" if forced else "automatic again by an operator")

    def tell(self, outcome: str | None, generation: int) -> None:
        """Take a call's outcome: None decides nothing, and what began under an earlier state is dropped."""
        if outcome is not None:
            self._on_call(outcome)
        if generation != self._generation:
            return
        self._trial_runs = False
        if outcome is None:
            return
        self.window.add(outcome)
        if self.forced is not None:
            return
        if outcome == SUCCESS:
            self._succeed()
        else:
            self._fail(outcome)

    def _admit_by_state(self) -> None:
        self.tick()
        if self.state_name == "open":
            self._reject(self.reason or "open", self.retry_in())
        if self.state_name == "half-open":
            if self._trial_runs:
                self._reject("half-open, a trial call is under way", TRIAL_RETRY)
            self._trial_runs = True

    def _reject(self, reason: str, retry_in: float) -> None:
        self._on_call("rejected")
        raise Rejected(reason, retry_in)

    def _succeed(self) -> None:
        was = self.state_name
        if was == "closed":  # pybreaker would do nothing, for each order anew
            return
        self.state._handle_success()  # noqa: SLF001 - pybreaker's own step after a call, without its call()
        if self.state_name != was:
            self._moved(was, "the trial call succeeded")

    def _fail(self, cause: str) -> None:
        was = self.state_name
        seen = describe(self.window.outcomes(), self.window.seconds)
        with contextlib.suppress(CallFailed):  # pybreaker raises it again when it trips
            self.state._handle_error(CallFailed(cause), reraise=False)  # noqa: SLF001 - as above
        if self.state_name != was:
            self._moved(was, seen if was == "closed" else f"the trial call failed ({cause})")

    def _move(self, to: Literal["half-open"], reason: str) -> None:
        was = self.state_name
        self.half_open()
        assert self.state_name == to  # noqa: S101 - the one state we move to by ourselves # nosec B101
        self._moved(was, reason)

    def _moved(self, was: State, reason: str) -> None:
        self._generation += 1
        self._trial_runs = False
        if self.state_name == "open":
            self._opened_at = self._clock()
        self.window.clear()
        self._announce(was, self.state_name, reason)

    def _announce(self, was: str, now: str, reason: str) -> None:
        self.since = datetime.now(UTC)
        self.reason = reason
        self._on_transition(Transition(self.since, was, now, reason))
