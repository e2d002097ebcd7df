"""The breaker, compared with a model that keeps every call and does not use pybreaker."""

from typing import Literal

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from services.order.breaker import Breaker, CallNotPermitted, Permit
from tests.unit.order.clock import Clock

MINIMUM, THRESHOLD, OPEN_TICKS, BUCKET = 3, 50, 10 * 1024, 1024


class Model:
    """The specification of the breaker, as plainly as possible."""

    def __init__(self) -> None:
        self.now = 0
        self.state = "closed"
        self.forced: Literal["open", "closed"] | None = None
        self.era = 0  # increases with each change of state: results of an earlier era are dropped
        self.opened_at = 0
        self.on_trial = False
        self.calls: list[tuple[int, bool]] = []  # time of each call, and whether it failed

    def look(self) -> None:
        if self.forced is None and self.state == "open" and self.now >= self.opened_at + OPEN_TICKS:
            self._move("half-open")

    def admit(self) -> int | None:
        """Return the era of the call, or None if it is blocked."""
        if self.forced is not None:
            return None if self.forced == "open" else self.era
        self.look()
        if self.state == "open" or self.on_trial:
            return None
        self.on_trial = self.state == "half-open"
        return self.era

    def end(self, era: int, *, failed: bool | None) -> None:
        if era != self.era:
            return
        self.on_trial = False
        if failed is None:
            return
        self.calls.append((self.now, failed))
        if self.forced is not None:
            return
        if self.state == "half-open":
            self._move("open" if failed else "closed")
        elif failed and len(self.counted) >= MINIMUM and sum(self.counted) * 100 >= THRESHOLD * len(self.counted):
            self._move("open")

    def force(self, forced: Literal["open", "closed"] | None) -> None:
        if forced != self.forced:
            self.forced = forced
            self._move("closed")

    @property
    def counted(self) -> list[bool]:
        return [failed for at, failed in self.calls if self.now // BUCKET - at // BUCKET < 10]

    def _move(self, to: str) -> None:
        self.state = to
        self.era += 1
        self.on_trial = False
        self.calls = []
        if to == "open":
            self.opened_at = self.now


class BreakerAgainstModel(RuleBasedStateMachine):
    permits = Bundle("permits")

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.breaker = Breaker(minimum_calls=MINIMUM, threshold_percent=THRESHOLD, clock=self.clock)
        self.model = Model()

    @rule(ticks=st.integers(0, 3 * 1024) | st.sampled_from([OPEN_TICKS - 1, OPEN_TICKS, OPEN_TICKS + 1]))
    def time_passes(self, ticks: int) -> None:
        self.clock.ticks += ticks
        self.model.now += ticks

    @rule(target=permits)
    def a_call_is_wanted(self) -> tuple[Permit, int] | None:
        era = self.model.admit()
        try:
            permit = self.breaker.admit()
        except CallNotPermitted:
            assert era is None
            return None
        assert era is not None
        return permit, era

    @rule(held=permits, failed=st.sampled_from([True, True, False, None]))
    def a_call_ends(self, *, held: tuple[Permit, int] | None, failed: bool | None) -> None:
        if held is None:
            return
        permit, era = held
        if not permit._used:  # noqa: SLF001 - a permit counts once; the bundle may draw it again
            self.model.end(era, failed=failed)
        match failed:
            case True:
                permit.fail("timeout")
            case False:
                permit.succeed()
            case None:
                permit.cancel()

    @rule(failures=st.integers(1, 6), successes=st.integers(0, 6))
    def calls_come_and_go(self, failures: int, successes: int) -> None:
        for failed in [False] * successes + [True] * failures:
            held = self.a_call_is_wanted()
            self.a_call_ends(held=held, failed=failed)

    @rule(forced=st.sampled_from(["open", "closed", None, None]))
    def an_operator_steps_in(self, forced: Literal["open", "closed"] | None) -> None:
        self.model.force(forced)
        self.breaker.force(forced)

    @rule()
    def it_is_looked_at(self) -> None:
        self.model.look()
        self.breaker.tick()

    @invariant()
    def both_agree(self) -> None:
        assert self.breaker.state_name == self.model.state
        assert self.breaker.forced == self.model.forced
        outcomes = self.breaker.window.outcomes()
        assert sum(outcomes.values()) == len(self.model.counted)
        assert outcomes.get("timeout", 0) == sum(self.model.counted)
        if self.model.forced is None and self.model.state == "open":
            assert self.breaker.retry_in() == max(0, self.model.opened_at + OPEN_TICKS - self.model.now) / 1024


BreakerAgainstModel.TestCase.settings = settings(max_examples=200, stateful_step_count=50, deadline=None)
test_under_any_story_the_breaker_does_what_the_model_does = BreakerAgainstModel.TestCase
