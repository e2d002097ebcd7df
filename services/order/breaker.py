"""The circuit breaker: pybreaker's state machine, made asynchronous and based on a failure rate.

pybreaker counts consecutive failures and wraps calls. Here a call asks for a `Permit` first and records its outcome
afterwards, so no lock is held across an await. pybreaker's failure counter becomes the failure percentage of a rolling
window, and its `fail_max` the threshold. The outcome of a call that started in an earlier state is dropped.
"""

import contextlib
import math
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal

import msgspec
import pybreaker

from services.order.rolling_window import SUCCESS, RollingWindow, describe, failure_percent

State = Literal["closed", "open", "half-open"]
Forced = Literal["open", "closed"]

TRIAL_RETRY_SECONDS = 0.3  # until a call that was refused during a trial may be tried again


class Transition(msgspec.Struct, frozen=True, rename={"from_": "from"}):
    """One change of state."""

    at: datetime
    from_: str
    to: str
    reason: str


class CallNotPermitted(Exception):  # noqa: N818 - a refusal, not an error
    """The breaker does not permit the call; try again in `retry_in` seconds."""

    def __init__(self, reason: str, retry_in: float) -> None:
        super().__init__(reason)
        self.retry_in = retry_in


class CallFailed(Exception):  # noqa: N818 - raised for pybreaker only
    """Reports a failed call to pybreaker."""


class Permit:
    """Permission for one call. Call exactly one of its methods; later calls do nothing."""

    def __init__(self, breaker: "Breaker", generation: int) -> None:
        self._breaker = breaker
        self._generation = generation
        self._used = False

    def succeed(self) -> None:
        """Record a success: the dependency did its work, even if it refused the request."""
        self._use(SUCCESS)

    def fail(self, cause: str) -> None:
        """Record a failure."""
        self._use(cause)

    def cancel(self) -> None:
        """Record nothing: the call was cancelled, or not made."""
        self._use(None)

    def _use(self, outcome: str | None) -> None:
        if not self._used:
            self._used = True
            self._breaker.record(outcome, self._generation)


class _WindowStorage(pybreaker.CircuitMemoryStorage):
    """pybreaker's storage with the window's failure percentage as its counter; 0 below the minimum of calls."""

    def __init__(self, window: RollingWindow, minimum_calls: int) -> None:
        super().__init__(pybreaker.STATE_CLOSED)
        self._window = window
        self._minimum = minimum_calls

    def increment_counter(self) -> None:
        """Do nothing: the window already has the call."""

    def reset_counter(self) -> None:
        """Do nothing: a success does not erase failures from the window."""

    @property
    def counter(self) -> int:
        outcomes = self._window.outcomes()
        return math.floor(failure_percent(outcomes)) if sum(outcomes.values()) >= self._minimum else 0


class Breaker(pybreaker.CircuitBreaker):
    """This replica's circuit breaker for one dependency.

    `on_transition` receives each change of state, `on_call` the outcome of each call (including `rejected`).
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
        self.changed_at = datetime.now(UTC)
        self.reason: str | None = None
        self._clock = clock
        self._on_transition = on_transition
        self._on_call = on_call
        self._opened_at = -math.inf
        self._generation = 0
        self._trial_in_flight = False
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
    def effective_state(self) -> State:
        """The forced state if an operator forces one, else the automatic state."""
        return self.forced or self.state_name

    def admit(self) -> Permit:
        """Return a permit for one call. Raises CallNotPermitted."""
        if self.forced is None:
            self._admit_by_state()
        elif self.forced == "open":
            self._reject("forced open by an operator", self.reset_timeout)
        return Permit(self, self._generation)

    def retry_in(self) -> float:
        """Return the seconds until a call may be admitted; 0 if one may be now."""
        if self.forced == "open":
            return self.reset_timeout
        if self.forced is None and self.state_name == "open":
            return max(0.0, self._opened_at + self.reset_timeout - self._clock())
        return 0.0

    def tick(self) -> None:
        """Become half-open once the open period has passed, even if no call is made."""
        if self.forced is None and self.state_name == "open" and self.retry_in() == 0:
            self._move("half-open", f"{self.reset_timeout:g} s have passed, the next call is a trial")

    def force(self, forced: Forced | None) -> None:
        """Force a state, or with None return to automatic operation, closed and with an empty window."""
        if forced == self.forced:
            return
        previous = self.effective_state
        self.forced = forced
        self._generation += 1
        self._trial_in_flight = False
        self.window.clear()
        self.close()
        self._publish(
            previous,
            forced or "closed",
            f"forced {forced} by an operator" if forced else "set to automatic by an operator",
        )

    def record(self, outcome: str | None, generation: int) -> None:
        """Record the outcome of a call. None has no effect; a call that started in an earlier state is dropped."""
        if outcome is not None:
            self._on_call(outcome)
        if generation != self._generation:
            return
        self._trial_in_flight = False
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
            if self._trial_in_flight:
                self._reject("half-open, a trial call is in flight", TRIAL_RETRY_SECONDS)
            self._trial_in_flight = True

    def _reject(self, reason: str, retry_in: float) -> None:
        self._on_call("rejected")
        raise CallNotPermitted(reason, retry_in)

    def _succeed(self) -> None:
        was = self.state_name
        if was == "closed":  # pybreaker would do nothing, at a cost for each order
            return
        self.state._handle_success()  # noqa: SLF001 - pybreaker's handling of a success, without its call()
        if self.state_name != was:
            self._transitioned(was, "the trial call succeeded")

    def _fail(self, cause: str) -> None:
        was = self.state_name
        summary = describe(self.window.outcomes(), self.window.seconds)
        with contextlib.suppress(CallFailed):  # pybreaker raises it again when it trips
            self.state._handle_error(CallFailed(cause), reraise=False)  # noqa: SLF001 - as above
        if self.state_name != was:
            self._transitioned(was, summary if was == "closed" else f"the trial call failed ({cause})")

    def _move(self, to: Literal["half-open"], reason: str) -> None:
        was = self.state_name
        self.half_open()
        assert self.state_name == to  # noqa: S101 - checks pybreaker's transition # nosec B101
        self._transitioned(was, reason)

    def _transitioned(self, was: State, reason: str) -> None:
        self._generation += 1
        self._trial_in_flight = False
        if self.state_name == "open":
            self._opened_at = self._clock()
        self.window.clear()
        self._publish(was, self.state_name, reason)

    def _publish(self, was: str, now: str, reason: str) -> None:
        self.changed_at = datetime.now(UTC)
        self.reason = reason
        self._on_transition(Transition(self.changed_at, was, now, reason))
