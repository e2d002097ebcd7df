"""Requirements such as `p95 < 300ms` or `error_rate < 1%`, held against what was measured. Pure."""

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from fractions import Fraction
from typing import Any, TypeAlias

import msgspec

from valerix_cli.durations import say_duration
from valerix_cli.errors import BadUsageError

DURATION, SHARE, RATE, COUNT = "duration", "share", "rate", "count"

Measured: TypeAlias = float | Fraction
"""What was measured. A share is a Fraction: 1 of 100 is exactly 1 %, and the nearest float may be more or less."""

_UNITS = {
    DURATION: {"us": Fraction(1, 1_000_000), "ms": Fraction(1, 1000), "s": Fraction(1), "m": Fraction(60)},
    SHARE: {"%": Fraction(1, 100)},
    RATE: {"/s": Fraction(1), "/m": Fraction(1, 60)},
    COUNT: {"": Fraction(1)},
}
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}
_GATE = re.compile(r"\s*(\w+)\s*(<=|>=|==|<|>)\s*([0-9]+(?:\.[0-9]+)?)\s*(us|ms|s|m|%|/s|/m|)\s*")
_DIGITS = 15  # of a value, with its decimals: more are no figure that somebody means


class Gate(msgspec.Struct, frozen=True):
    """A metric, and what it has to be like."""

    text: str
    metric: str
    kind: str
    comparison: str
    limit: Fraction


class Check(msgspec.Struct, frozen=True):
    """A requirement and what was measured; `held` is None where that says nothing, and `why` tells."""

    require: str
    measured: float | None
    held: bool | None
    why: str


def parse(text: str, metrics: Mapping[str, str]) -> Gate:
    """Read a requirement on one of `metrics`, each of which has a kind.

    Raises BadUsageError, which names the nearest metric or the units that fit.
    """
    found = _GATE.fullmatch(text)
    if found is None:
        raise BadUsageError(
            f"{text!r} is not a requirement.", "it is a metric, a comparison and a value", '--require "p95 < 300ms"'
        )
    metric, comparison, number, unit = found.groups()
    if len(number) > _DIGITS:
        raise BadUsageError(
            f"The value of `{metric}` is not understood.", f"it has {len(number)} digits", f"at most {_DIGITS}"
        )
    if metric not in metrics:
        near = get_close_matches(metric, metrics, n=1, cutoff=0)
        raise BadUsageError(
            f"There is no metric called `{metric}`.", f"known are {', '.join(metrics)}", f"perhaps {near[0]}"
        )
    units = _UNITS[metrics[metric]]
    if unit not in units:
        raise BadUsageError(
            f"{text!r} has no unit that fits.",
            f"{metric} is a {metrics[metric]}, so it takes {' or '.join(units) or 'none'}",
            f'--require "{metric} {comparison} {number}{next(iter(units))}"',
        )
    return Gate(" ".join(text.split()), metric, metrics[metric], comparison, Fraction(number) * units[unit])


def judge(gates: Sequence[Gate], measured: Mapping[str, Measured | None]) -> list[Check]:
    """Hold each requirement against what was measured; None means that there was not enough to measure it."""
    return [_judge(gate, measured[gate.metric]) for gate in gates]


def _judge(gate: Gate, value: Measured | None) -> Check:
    if value is None:
        return Check(gate.text, None, None, f"{gate.metric} was not measured: too few orders were answered")
    exact = value if isinstance(value, Fraction) else Fraction(repr(value))  # 0.3 s is 300 ms, though not as a float
    held = _OPERATORS[gate.comparison](exact, gate.limit)
    return Check(gate.text, float(value), held, f"{gate.metric} was {say(float(value), gate.kind)}")


def as_floats(measured: Mapping[str, Measured | None]) -> dict[str, float | None]:
    """What was measured as JSON can have it."""
    return {metric: None if value is None else float(value) for metric, value in measured.items()}


def say(value: float, kind: str) -> str:
    """A measured value with its unit."""
    match kind:
        case "duration":
            return f"{value * 1000:.1f} ms" if value < 1 else say_duration(value)
        case "share":
            return f"{value:.2%}"
        case "rate":
            return f"{value:,.1f}/s"
        case _:
            return f"{value:g}"
