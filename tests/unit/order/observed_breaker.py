"""A breaker with a clock that tests set, and its recorded transitions."""

import pytest

from services.order.breaker import Breaker, CallNotPermitted, Permit, Transition
from tests.unit.order.clock import Clock


class Observed:
    """A breaker on a separate clock, with its transitions and outcomes."""

    def __init__(self, **options: float) -> None:
        self.clock = Clock(12_345)
        self.transitions: list[Transition] = []
        self.outcomes: list[str] = []
        self.breaker = Breaker(
            clock=self.clock,
            on_transition=self.transitions.append,
            on_call=self.outcomes.append,
            **options,  # type: ignore[arg-type]  # numbers, all of them
        )

    def succeed(self, times: int = 1) -> None:
        for _ in range(times):
            self.breaker.admit().succeed()

    def fail(self, times: int = 1, cause: str = "timeout") -> None:
        for _ in range(times):
            self.breaker.admit().fail(cause)

    def rejected(self) -> CallNotPermitted:
        with pytest.raises(CallNotPermitted) as caught:
            self.breaker.admit()
        return caught.value

    @property
    def state(self) -> str:
        return self.breaker.state_name

    @property
    def moves(self) -> list[tuple[str, str]]:
        return [(transition.from_, transition.to) for transition in self.transitions]


def opened() -> Observed:
    seen = Observed()
    seen.fail(5)
    assert seen.state == "open"
    return seen


def on_trial() -> tuple[Observed, Permit]:
    seen = opened()
    seen.clock.go_on(10)
    return seen, seen.breaker.admit()
