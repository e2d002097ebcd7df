"""How a drill file writes figures: `5s`, `30%`, `50/s`. Each is a float that remembers nothing of its text."""

import re
from typing import Any, Self

import typer

from valerix_cli.load.model import FASTEST
from valerix_cli.units import parse_duration, shown

_SHARE = re.compile(r"([0-9]+(?:\.[0-9]+)?)(%?)")
_RATE = re.compile(r"([0-9]+(?:\.[0-9]+)?)/(s|m)")


class Seconds(float):
    """A length of time."""

    PATTERN = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError."""
        try:
            return cls(parse_duration(text))
        except typer.BadParameter as error:
            raise ValueError(error.message) from None


class Share(float):
    """A part of all, from 0 to 1."""

    PATTERN = r"^([0-9]+(\.[0-9]+)?%|0(\.[0-9]+)?|1(\.0+)?)$"

    @classmethod
    def parse(cls, text: str) -> Self:
        found = _SHARE.fullmatch(text)
        share = float(found[1]) / (100 if found[2] else 1) if found else -1.0
        if not 0 <= share <= 1:
            raise ValueError(f"{shown(text)} is no share; write 30% or 0.3")
        return cls(share)


class PerSecond(float):
    """So many a second."""

    PATTERN = r"^[0-9]+(\.[0-9]+)?/(s|m)$"

    @classmethod
    def parse(cls, text: str) -> Self:
        found = _RATE.fullmatch(text)
        rate = float(found[1]) / (60 if found[2] == "m" else 1) if found else 0.0
        if not 0 < rate <= FASTEST:
            raise ValueError(f"{shown(text)} is no rate from above 0 to {FASTEST:,}/s; write 50/s or 3000/m")
        return cls(rate)


UNITS: tuple[type[Seconds | Share | PerSecond], ...] = (Seconds, Share, PerSecond)


def read(kind: type[Any], value: object) -> Any:
    """The value of `kind` that a file means by `value`: a text, or a bare number. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        example = _EXAMPLES.get(kind, "p95 < 300ms")
        raise ValueError(f"expected a text such as {example}")  # noqa: TRY004 - only this becomes a refusal
    return kind.parse(str(value))


_EXAMPLES: dict[type[Any], str] = {Seconds: "5s", Share: "30%", PerSecond: "50/s"}
