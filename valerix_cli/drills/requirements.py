"""The requirements of a drill: `p95 < 300ms`, `breaker opened within 10s`, `error_rate > 60% for 5s`. Pure."""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Literal, Self, TypeAlias

from valerix_cli.drills.units import Seconds
from valerix_cli.errors import BadUsageError
from valerix_cli.gates import COUNT, DURATION, Gate, parse
from valerix_cli.load.model import METRICS as LOAD_METRICS

METRICS: Mapping[str, str] = {
    **LOAD_METRICS,
    "orders": COUNT,
    "confirmed": COUNT,
    "refused": COUNT,
    "errors": COUNT,
    "backlog": COUNT,
    "backlog_age": DURATION,
    "dead": COUNT,
    "injected": COUNT,
}
"""The metrics that a requirement may name, each with its kind."""

BreakerEvent: TypeAlias = Literal["opened", "closed", "stayed closed"]

_BREAKER = re.compile(r"breaker (opened|closed|stayed closed)(?: within (\S+))?")
_LASTING = re.compile(r"(.+?) for (\S+)")
_BREAKER_EVENTS = "opened, closed and stayed closed"


class Requirement:
    """A threshold for a metric, or an expected state of the breaker.

    `within` is in seconds after the first fault; `lasting` is the period in seconds over which an abort condition has
    to hold. Both are None if not given.
    """

    PATTERN = r"^(breaker (opened( within \S+)?|closed|stayed closed)|\w+ *(<=|>=|==|<|>) *\d\S*( for \S+)?)$"

    def __init__(
        self,
        text: str,
        *,
        gate: Gate | None = None,
        breaker: BreakerEvent | None = None,
        within: float | None = None,
        lasting: float | None = None,
    ) -> None:
        self.text, self.gate, self.breaker, self.within, self.lasting = text, gate, breaker, within, lasting

    def __repr__(self) -> str:
        return f"Requirement({self.text!r})"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a requirement. Raises ValueError, which suggests the nearest metric or a valid unit."""
        text = " ".join(text.split())
        if text.startswith("breaker"):
            return cls._parse_breaker(text)
        lasting = _LASTING.fullmatch(text)
        try:
            gate = parse(lasting[1] if lasting else text, METRICS)
        except BadUsageError as error:
            raise ValueError(f"{error.what} {error.why}; {error.hint}") from None
        return cls(text, gate=gate, lasting=Seconds.parse(lasting[2]) if lasting else None)

    @classmethod
    def _parse_breaker(cls, text: str) -> Self:
        found = _BREAKER.fullmatch(text)
        if found is None:
            near = get_close_matches(text, ["breaker opened", "breaker closed", "breaker stayed closed"], n=1, cutoff=0)
            raise ValueError(f"{text!r}: a breaker may have {_BREAKER_EVENTS}; perhaps {near[0]}")
        if found[2] and found[1] != "opened":
            raise ValueError(f"{text!r}: only `breaker opened` has a `within`, and `recover` one for all of it")
        event: BreakerEvent = found[1]  # type: ignore[assignment]  # one of those in the pattern
        return cls(text, breaker=event, within=Seconds.parse(found[2]) if found[2] else None)
