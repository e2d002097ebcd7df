"""Parsing and formatting of durations, shares and rates."""

import re

import typer

LONGEST = 31_536_000.0  # seconds: a year
FASTEST = 1_000_000  # orders per second, the maximum of a plan
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)"
_SHARE = re.compile(r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+)(%?)")
_RATE = re.compile(r"([0-9]+(?:\.[0-9]+)?)(?:/(s|m))?")
_DURATION = re.compile(rf"(?:{_PART})+|[0-9]+(?:\.[0-9]+)?")


def parse_duration(text: str) -> float:
    """Return the seconds in `500ms`, `5s`, `2m`, `1h`, `1m30s` or a bare number of seconds.

    Raises typer.BadParameter for anything else, and for more than a year.
    """
    if not _DURATION.fullmatch(text):
        raise typer.BadParameter(f"{shown(text)} is not a length of time; write 500ms, 5s, 2m or 1m30s.")
    parts = re.findall(_PART, text) or [(text, "s")]
    seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if seconds > LONGEST:
        raise typer.BadParameter(f"{shown(text)} is longer than a year.")
    return seconds


def parse_positive_duration(text: str) -> float:
    """Return the seconds of a duration above zero. Raises like `parse_duration`."""
    seconds = parse_duration(text)
    if not seconds:
        raise typer.BadParameter(f"{shown(text)} is not a positive duration.")
    return seconds


def parse_share(text: str) -> float:
    """Return the share from 0 to 1 in `30%`, `0.3` or `.3`. Raises typer.BadParameter."""
    found = _SHARE.fullmatch(text)
    share = float(found[1]) / (100 if found[2] else 1) if found else -1.0
    if not 0 <= share <= 1:
        raise typer.BadParameter(f"{shown(text)} is not a share; write 30% or 0.3.")
    return share


def parse_rate(text: str) -> float:
    """Return orders per second in `50/s`, `3000/m` or a bare number of them. Raises typer.BadParameter."""
    found = _RATE.fullmatch(text)
    rate = float(found[1]) / (60 if found[2] == "m" else 1) if found else 0.0
    if not 0 < rate <= FASTEST:
        raise typer.BadParameter(f"{shown(text)} is not a rate from above 0 to {FASTEST:,}/s; write 50/s or 3000/m.")
    return rate


def shown(text: str) -> str:
    """Return the text as typed, in quotation marks, shortened if it is very long."""
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")


_SHOWN = 40  # characters


def format_duration(seconds: float) -> str:
    """Return `12 ms`, `3.4 s`, `58 s`, `90 s`, `2 m 05 s` or `3 h 20 m`, with two significant parts.

    A negative age, from differences between clocks, is `0 ms`.
    """
    seconds = max(0.0, seconds)
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:  # noqa: PLR2004 - below ten seconds a tenth matters
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 100:  # noqa: PLR2004 - shown in seconds up to here
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:  # noqa: PLR2004 - minutes in an hour
        return f"{minutes} m {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} m"


def percent(share: float) -> str:
    """Return 0.25 as `25 %`."""
    return f"{share * 100:g} %"
