"""What a drill leaves behind, as values: what was injected, what was required and what held, and how it ended."""

from datetime import datetime
from typing import Any, Literal

import msgspec

from valerix_cli.audit.model import Audit
from valerix_cli.escaping import escape_json

Phase = Literal["steady", "faults", "recover", "drain", "audit", "roll-back", "baseline"]
Verdict = Literal["held", "missed", "violated", "not-measured"]
Outcome = Literal["passed", "missed", "violated", "inconclusive", "not-rolled-back", "worse", "interrupted"]


class Check(msgspec.Struct, frozen=True):
    """One requirement: in which phase, what it came to, and the figures that say so."""

    phase: Phase
    require: str
    verdict: Verdict
    why: str
    measured: float | None = None


class Struck(msgspec.Struct, frozen=True):
    """One process that was struck; `back_after` seconds it did its work again, None if it was not seen to."""

    name: str
    pid: int
    back_after: float | None = None


class Injection(msgspec.Struct, frozen=True, kw_only=True):
    """One fault as it was: from when to when of the load, in seconds, and how often it had its chance and took it.

    For a fault of processes `hits` counts those that were struck, for a flush the keys that were lost.
    """

    kind: str
    target: str
    says: str
    began: float
    ended: float | None = None
    activations: list[str] = []
    rolls: int = 0
    hits: int = 0
    struck: list[Struck] = []


class Hit(msgspec.Struct, frozen=True, order=True):
    """One attempt at one order that a gremlin got at."""

    order_id: str
    attempt: int
    gremlin: str


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured over one phase, `seconds` long: times in seconds, shares from 0 to 1."""

    phase: Phase
    seconds: float
    measured: dict[str, float | None]


class Second(msgspec.Struct, frozen=True):
    """One second of the load: orders that were over in it by what they came to, and how the platform was.

    `breaker` is the worst of the replicas' states; None where nobody could be asked.
    """

    at: int
    outcomes: dict[str, int]
    p50: float | None
    p95: float | None
    breaker: str | None
    backlog: int | None


class Event(msgspec.Struct, frozen=True):
    """Something that happened, `at` so many seconds of the load."""

    at: float
    what: str


class Difference(msgspec.Struct, frozen=True):
    """One figure of two runs; `change` is the share by which it grew, None where there is nothing to divide by.

    A figure that one of them lacks is not compared (None).
    """

    metric: str
    baseline: float | None
    now: float | None
    change: float | None
    worse: bool

    @property
    def is_missing(self) -> bool:
        """Whether one run has it, the other has not, and that is not worse in itself."""
        return (self.baseline is None) != (self.now is None) and not self.worse

    @property
    def verdict(self) -> str:
        if self.worse:
            return "WORSE"
        return "not compared" if self.baseline is None or self.now is None else "ok"


class Comparison(msgspec.Struct, frozen=True):
    """Two runs, figure by figure; `tolerance` is the share by which one may be worse."""

    baseline: str
    run: str
    tolerance: float
    differences: list[Difference]

    @property
    def says_anything(self) -> bool:
        """Whether there is a figure that both have."""
        return any(one.baseline is not None and one.now is not None for one in self.differences)


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of it.

    `outcomes` counts what `orders` came to, `answers` what each of `requests` did, some of which were sent again.
    `outcome` is the gravest of what `checks` say, `exit_code` what the command ended with. `hits` is the list of
    attempts that gremlins got at, `hits_complete` false where some are missing from it.
    """

    version: Literal[1] = 1
    run: str
    drill: str
    teaches: str
    source: str
    text: str
    seed: int
    key_prefix: str
    started_at: datetime
    seconds: float
    context: str
    versions: dict[str, str]
    again: str
    outcome: Outcome
    exit_code: int
    why: list[str]
    checks: list[Check]
    injections: list[Injection]
    hits: list[Hit]
    hits_complete: bool
    opened_after: float | None
    recovered_after: float | None
    orders: int
    requests: int
    outcomes: dict[str, int]
    answers: dict[str, int]
    figures: list[Figures]
    events: list[Event]
    timeline: list[Second]
    audit: Audit | None
    journal: str | None
    replays: str | None = None
    comparison: Comparison | None = None


decoder: msgspec.json.Decoder[Receipt] = msgspec.json.Decoder(Receipt)


def encode(receipt: Receipt) -> bytes:
    return escape_json(msgspec.json.format(msgspec.json.encode(receipt), indent=1).decode()).encode()


def facts(receipt: Receipt) -> dict[str, Any]:
    """The figures of a run that another may be held against, each with a name of its own."""
    found: dict[str, Any] = {
        f"{figures.phase} {name}": value for figures in receipt.figures for name, value in figures.measured.items()
    }
    return found | {"breaker opened after": receipt.opened_after, "recovered after": receipt.recovered_after}
