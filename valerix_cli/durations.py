"""Lengths of time as people type them and as they like to read them."""

import re

import typer

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)?")


def parse_duration(text: str) -> float:
    """Seconds in `500ms`, `5s`, `2m`, `1h`, `1m30s` or a bare number of seconds."""
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise typer.BadParameter(f"{text!r} is not a length of time; write 500ms, 5s, 2m or 1m30s.")
    return sum(float(number) * _UNITS[unit or "s"] for number, unit in parts)


def say_duration(seconds: float) -> str:
    """`12 ms`, `3.4 s`, `58 s`, `90 s`, `2 m 05 s`, `3 h 20 m`: two figures are enough for a reader.

    An age that clocks which differ make negative is `0 ms`.
    """
    seconds = max(0.0, seconds)
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:  # noqa: PLR2004 - below ten seconds a tenth matters
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 100:  # noqa: PLR2004 - up to here nobody needs minutes
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:  # noqa: PLR2004 - minutes in an hour
        return f"{minutes} m {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} m"
