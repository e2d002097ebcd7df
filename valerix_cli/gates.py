"""Requirements such as `p95 < 300ms` or `error_rate < 1%`, held against what was measured. Pure."""

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import msgspec

from valerix_cli.durations import say_duration
from valerix_cli.errors import BadUsageError

DURATION, SHARE, RATE, COUNT = "duration", "share", "rate", "count"

_UNITS = {
    DURATION: {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0},
    SHARE: {"%": 0.01},
    RATE: {"/s": 1.0, "/m": 1 / 60},
    COUNT: {"": 1.0},
}
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}
_GATE = re.compile(r"\s*(\w+)\s*(<=|>=|==|<|>)\s*(\d+(?:\.\d+)?)\s*(us|ms|s|m|%|/s|/m|)\s*")


class Gate(msgspec.Struct, frozen=True):
    """A metric, and what it has to be like."""

    text: str
    metric: str
    kind: str
    comparison: str
    limit: float


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
    return Gate(" ".join(text.split()), metric, metrics[metric], comparison, float(number) * units[unit])


def judge(gates: Sequence[Gate], measured: Mapping[str, float | None]) -> list[Check]:
    """Hold each requirement against what was measured; None means that there was not enough to measure it."""
    return [_judge(gate, measured[gate.metric]) for gate in gates]


def _judge(gate: Gate, value: float | None) -> Check:
    if value is None:
        return Check(gate.text, None, None, f"{gate.metric} was not measured: too few orders were answered")
    held = _OPERATORS[gate.comparison](value, gate.limit)
    return Check(gate.text, value, held, f"{gate.metric} was {say(value, gate.kind)}")


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
