"""Requirements such as `p95 < 300ms` or `error_rate < 1%`, and their evaluation. Pure."""

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from fractions import Fraction
from typing import Any, TypeAlias

import msgspec

from valerix_cli.errors import BadUsageError
from valerix_cli.quoting import word
from valerix_cli.units import format_duration, shown

DURATION, SHARE, RATE, COUNT = "duration", "share", "rate", "count"

Measured: TypeAlias = float | Fraction
"""A measured value. A share is a Fraction: 1 of 100 is exactly 1 %, and the nearest float may be more or less."""

_UNITS = {
    DURATION: {
        "us": Fraction(1, 1_000_000),
        "ms": Fraction(1, 1000),
        "s": Fraction(1),
        "m": Fraction(60),
        "h": Fraction(3600),
        "": Fraction(1),
    },
    SHARE: {"%": Fraction(1, 100), "": Fraction(1)},
    RATE: {"/s": Fraction(1), "/m": Fraction(1, 60)},
    COUNT: {"": Fraction(1)},
}
_SUCH_AS = {DURATION: "300ms, 1m30s or 0.3 (seconds)", SHARE: "1% or 0.01", RATE: "50/s or 3000/m", COUNT: "5"}
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}
_FLATTERED = {DURATION: ("<", "<=", "=="), SHARE: ("<", "<=", "=="), RATE: (">", ">=", "==")}
"""Comparisons of each kind that hold trivially if every order fails at once."""
_GATE = re.compile(r"\s*(\w+)\s*(<=|>=|==|<|>)\s*([0-9]\S*(?:\s*(?:us|ms|s|m|h|%|/s|/m))?)\s*")
_PART = r"([0-9]{1,15}(?:\.[0-9]{1,15})?)\s*"  # more digits are a mistake


class Gate(msgspec.Struct, frozen=True):
    """A requirement for a metric."""

    text: str
    metric: str
    kind: str
    comparison: str
    limit: Fraction


class Check(msgspec.Struct, frozen=True):
    """A requirement and its measurement; `held` is None if that is inconclusive, with the reason in `why`."""

    require: str
    measured: float | None
    held: bool | None
    why: str


def parse(text: str, metrics: Mapping[str, str]) -> Gate:
    """Parse a requirement for one of `metrics`, each of which has a kind.

    Raises BadUsageError, which suggests the nearest metric or the valid units.
    """
    found = _GATE.fullmatch(text)
    if found is None:
        raise BadUsageError(
            f"{shown(text)} is not a requirement.",
            "it is a metric, a comparison and a value",
            '--require "p95 < 300ms"',
        )
    metric, comparison, written = found.groups()
    if metric not in metrics:
        near = get_close_matches(metric, metrics, n=1, cutoff=0)
        raise BadUsageError(f"Unknown metric `{metric}`.", f"known metrics: {', '.join(metrics)}", f"perhaps {near[0]}")
    kind = metrics[metric]
    limit = _value(written, kind)
    if limit is None or (kind == SHARE and limit > 1):
        what = f"{shown(text)} has a value of the wrong kind."
        example = _SUCH_AS[kind].partition(" or ")[0].partition(",")[0]
        why = f"{metric} is a {kind}, which is written as {_SUCH_AS[kind]}"
        raise BadUsageError(what, why, f"--require {word(f'{metric} {comparison} {example}')}")
    return Gate(" ".join(text.split()), metric, kind, comparison, limit)


def _value(written: str, kind: str) -> Fraction | None:
    """Return the value of a requirement in seconds, as a share, in orders per second or as a count; None if invalid."""
    units = "|".join(unit for unit in _UNITS[kind] if unit)
    parts = re.findall(rf"{_PART}({units})", written)
    if kind != DURATION and len(parts) > 1:
        return None
    if re.fullmatch(rf"(?:{_PART}(?:{units}))+", written):
        return sum((Fraction(number) * _UNITS[kind][unit] for number, unit in parts), Fraction(0))
    bare = re.fullmatch(_PART, written)
    return Fraction(bare[1]) * _UNITS[kind][""] if bare and "" in _UNITS[kind] else None


def evaluate(gates: Sequence[Gate], measured: Mapping[str, Measured | None]) -> list[Check]:
    """Evaluate each requirement against the measured values; None means that there was too little to measure it.

    If no order was accepted (`error_rate` is 1), good values are meaningless: refused connections are fast.
    """
    checks = [_evaluate(gate, measured[gate.metric]) for gate in gates]
    if measured.get("error_rate") != 1:
        return checks
    return [_without_orders(gate, check) for gate, check in zip(gates, checks, strict=True)]


def _evaluate(gate: Gate, value: Measured | None) -> Check:
    if value is None:
        return Check(gate.text, None, None, f"{gate.metric} was not measured: too few orders were answered")
    exact = value if isinstance(value, Fraction) else Fraction(repr(value))  # 0.3 s is 300 ms, though not as a float
    held = _OPERATORS[gate.comparison](exact, gate.limit)
    return Check(gate.text, float(value), held, f"{gate.metric} was {format_value(float(value), gate.kind)}")


def _without_orders(gate: Gate, check: Check) -> Check:
    if not check.held or gate.metric == "error_rate" or gate.comparison not in _FLATTERED.get(gate.kind, ()):
        return check
    return msgspec.structs.replace(check, held=None, why=f"{check.why}, but not one order was taken")


def as_floats(measured: Mapping[str, Measured | None]) -> dict[str, float | None]:
    """Return measured values as JSON numbers."""
    return {metric: None if value is None else float(value) for metric, value in measured.items()}


def format_value(value: float, kind: str) -> str:
    """Return a measured value with its unit."""
    match kind:
        case "duration":
            return f"{value * 1000:.1f} ms" if value < 1 else format_duration(value)
        case "share":
            return f"{value:.2%}"
        case "rate":
            return f"{value:,.1f}/s"
        case _:
            return f"{value:g}"
