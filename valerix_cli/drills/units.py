"""The units of a drill file: `5s`, `30%`, `50/s`. Each is parsed into a float."""

import re
from collections.abc import Callable
from typing import Any, Self

import typer

from valerix_cli.units import parse_duration, parse_rate, parse_share, shown


class Seconds(float):
    """A duration in seconds."""

    PATTERN = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError."""
        return cls(_parsed(parse_duration, text))


class Share(float):
    """A share, from 0 to 1."""

    PATTERN = r"^(([0-9]+(\.[0-9]+)?|\.[0-9]+)%|0(\.[0-9]+)?|\.[0-9]+|1(\.0+)?)$"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError."""
        return cls(_parsed(parse_share, text))


class PerSecond(float):
    """A rate in orders per second; the unit is required."""

    PATTERN = r"^[0-9]+(\.[0-9]+)?/(s|m)$"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError."""
        if not re.fullmatch(cls.PATTERN, text):
            raise ValueError(f"{shown(text)} is not a rate; write 50/s or 3000/m.")
        return cls(_parsed(parse_rate, text))


def _parsed(parse: Callable[[str], float], text: str) -> float:
    """Parse `text` with a parser of options, whose errors become ValueError."""
    try:
        return parse(text)
    except typer.BadParameter as error:
        raise ValueError(error.message) from None


UNITS: tuple[type[Seconds | Share | PerSecond], ...] = (Seconds, Share, PerSecond)


def read(kind: type[Any], value: object) -> Any:
    """Convert a text or a number of a drill file to `kind`. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        example = _EXAMPLES.get(kind, "p95 < 300ms")
        raise ValueError(f"expected a text such as {example}")  # noqa: TRY004 - msgspec reports only ValueError
    return kind.parse(str(value))


_EXAMPLES: dict[type[Any], str] = {Seconds: "5s", Share: "30%", PerSecond: "50/s"}
