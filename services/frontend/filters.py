"""Template filters that format values. Pure."""

import math
from datetime import datetime

MINUTE, HOUR = 60, 3600  # seconds

SYMBOLS = {
    "ok": "✓",
    "degraded": "▲",
    "down": "✕",
    "closed": "✓",
    "half-open": "◐",
    "open": "✕",
    "confirmed": "✓",
    "failed": "✕",
    "queued": "…",
    "pending": "·",
    "dead": "☠",
    "held": "✓",
    "clean": "✓",
    "violated": "✕",
    "unsettled": "…",
    "not-checked": "-",
}
"""Each state has its own shape, so that it is distinguishable without colours."""


INVISIBLE = {
    code: f"\\u{code:04x}"
    for code in (
        *(code for code in range(0x20) if code not in {0x09, 0x0A, 0x0D}),
        *range(0x7F, 0xA0),
        0x061C,
        *range(0x200B, 0x2010),
        *range(0x2028, 0x202F),
        *range(0x2060, 0x2070),
        0xFEFF,
        *range(0xD800, 0xE000),  # surrogates, which have no UTF-8 encoding
    )
}
"""C0, C1, bidirectional marks and embeddings, zero-width characters, line separators."""


def symbol(state: str) -> str:
    return SYMBOLS.get(state, "?")


def duration(seconds: float | None) -> str:
    """Return `1.2 ms`, `12 ms`, `1.24 s`, `42 s`, `1 min 05 s` or `3 h 20 min`; a dash for None."""
    if seconds is None:
        return "-"
    if math.isinf(seconds):
        return "over 10 s"
    seconds = max(0.0, seconds)  # clock differences can make an age negative
    milliseconds, whole = seconds * 1000, round(seconds)
    if whole >= MINUTE:
        return f"{whole // MINUTE} min {whole % MINUTE:02d} s" if whole < HOUR else _hours(whole)
    if milliseconds >= 10_000:  # noqa: PLR2004 - below, show hundredths
        return f"{whole} s"
    if milliseconds >= 1000:  # noqa: PLR2004 - a second
        return f"{seconds:.2f} s"
    return f"{milliseconds:.{1 if milliseconds < 10 else 0}f} ms"  # noqa: PLR2004 - below, show tenths


def _hours(seconds: int) -> str:
    return f"{seconds // HOUR} h {seconds % HOUR // MINUTE} min"


def seconds(value: float) -> str:
    """Format a countdown in whole seconds."""
    return f"{max(0, math.ceil(value))} s"


def count(number: float) -> str:
    return f"{round(number):,}"


def rate(per_second: float) -> str:
    """Return `0`, `0.4`, `12` or `1,204`: one decimal below 10."""
    return f"{per_second:.1f}" if 0 < per_second < 10 else count(per_second)  # noqa: PLR2004 - see above


def percent(share: float) -> str:
    return f"{share:.0%}"


def clock(at: datetime) -> str:
    return f"{at:%H:%M:%S}"


def short(text: object) -> str:
    """Shorten a long text."""
    full = str(text)
    return full if len(full) <= 12 else f"{full[:8]}…"  # noqa: PLR2004 - fits a narrow column


def visible(text: str) -> str:
    r"""Escape invisible characters, such as `\u202e`: control characters and bidirectional marks.

    Line ends and tabs are kept. The marks are listed in Unicode's UAX 9 and UTR 36.
    """
    return text.translate(INVISIBLE)


def finalize(value: object) -> object:
    """Jinja's finalize hook: escapes invisible characters in each expression."""
    return type(value)(visible(value)) if isinstance(value, str) else value


FILTERS = {filter_.__name__: filter_ for filter_ in (symbol, duration, seconds, count, rate, percent, clock, short)}
