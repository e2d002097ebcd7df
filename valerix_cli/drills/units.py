"""How a drill file writes figures: `5s`, `30%`, `50/s`. Each is a float that remembers nothing of its text."""

import re
from typing import Any, ClassVar, Self

import typer

from valerix_cli.units import parse_duration, parse_rate, parse_share, shown


class _Unit(float):
    """A figure that a text with its unit means."""

    PATTERN: ClassVar[str]

    @staticmethod
    def _read(text: str) -> float:
        raise NotImplementedError

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError."""
        try:
            return cls(cls._read(text))
        except typer.BadParameter as error:
            raise ValueError(error.message) from None


class Seconds(_Unit):
    """A length of time."""

    PATTERN = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"

    @staticmethod
    def _read(text: str) -> float:
        return parse_duration(text)


class Share(_Unit):
    """A part of all, from 0 to 1."""

    PATTERN = r"^([0-9]*(\.[0-9]+)?%|0(\.[0-9]+)?|\.[0-9]+|1(\.0+)?)$"

    @staticmethod
    def _read(text: str) -> float:
        return parse_share(text)


class PerSecond(_Unit):
    """A number of orders per second; its unit is required."""

    PATTERN = r"^[0-9]+(\.[0-9]+)?/(s|m)$"

    @staticmethod
    def _read(text: str) -> float:
        if not re.fullmatch(PerSecond.PATTERN, text):
            raise typer.BadParameter(f"{shown(text)} is not a rate; write 50/s or 3000/m.")
        return parse_rate(text)


UNITS: tuple[type[_Unit], ...] = (Seconds, Share, PerSecond)


def read(kind: type[Any], value: object) -> Any:
    """The value of `kind` that a file means by `value`: a text, or a bare number. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        example = _EXAMPLES.get(kind, "p95 < 300ms")
        raise ValueError(f"expected a text such as {example}")  # noqa: TRY004 - only this becomes a refusal
    return kind.parse(str(value))


_EXAMPLES: dict[type[Any], str] = {Seconds: "5s", Share: "30%", PerSecond: "50/s"}
