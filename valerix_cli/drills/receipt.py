"""The receipt of a drill as values: injected faults, evaluated requirements and the outcome."""

from datetime import datetime
from typing import Any, Literal

import msgspec

from valerix_cli.audit.model import Audit
from valerix_cli.escaping import escape_json

Phase = Literal["steady", "faults", "recover", "drain", "audit", "roll-back", "baseline"]
Verdict = Literal["held", "missed", "violated", "not-measured"]
Outcome = Literal["passed", "missed", "violated", "inconclusive", "not-rolled-back", "worse", "interrupted"]


class Check(msgspec.Struct, frozen=True):
    """The result of one requirement in one phase."""

    phase: Phase
    require: str
    verdict: Verdict
    why: str
    measured: float | None = None


class AffectedProcess(msgspec.Struct, frozen=True):
    """A process that a fault affected. It was ready again after `back_after` seconds; None if that was not observed."""

    name: str
    pid: int
    back_after: float | None = None


class Injection(msgspec.Struct, frozen=True, kw_only=True):
    """An injected fault: its begin and end in seconds since the load began, and its rolls and hits.

    For faults of processes, `hits` counts the processes; for a flush, the keys.
    """

    kind: str
    target: str
    description: str
    began: float
    ended: float | None = None
    activations: list[str] = []
    rolls: int = 0
    hits: int = 0
    affected: list[AffectedProcess] = []


class Hit(msgspec.Struct, frozen=True, order=True):
    """An attempt that a gremlin hit."""

    order_id: str
    attempt: int
    gremlin: str


class PhaseMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """The metrics of one phase of `seconds`: durations in seconds, shares from 0 to 1."""

    phase: Phase
    seconds: float
    measured: dict[str, float | None]


class Second(msgspec.Struct, frozen=True):
    """One second of the load: the outcomes of orders completed in it, and the state of the platform.

    `breaker` is the worst state among the replicas; None if unknown.
    """

    at: int
    outcomes: dict[str, int]
    p50: float | None
    p95: float | None
    breaker: str | None
    backlog: int | None


class Event(msgspec.Struct, frozen=True):
    """An event, `at` seconds after the load began."""

    at: float
    what: str


class Difference(msgspec.Struct, frozen=True):
    """A metric in two runs. `change` is the relative change; None if the baseline is zero or a value is missing."""

    metric: str
    baseline: float | None
    now: float | None
    change: float | None
    worse: bool

    @property
    def is_missing(self) -> bool:
        """True if only one run has the metric and that does not count as worse."""
        return (self.baseline is None) != (self.now is None) and not self.worse

    @property
    def verdict(self) -> str:
        if self.worse:
            return "WORSE"
        return "not compared" if self.baseline is None or self.now is None else "ok"


class Comparison(msgspec.Struct, frozen=True):
    """A comparison of two runs, metric by metric. `tolerance` is the relative change that is not worse."""

    baseline: str
    run: str
    tolerance: float
    differences: list[Difference]

    @property
    def has_common_metric(self) -> bool:
        """True if both runs have at least one of the metrics."""
        return any(difference.baseline is not None and difference.now is not None for difference in self.differences)


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """The receipt of a run.

    `outcomes` counts `orders`, and `answers` counts `requests` including retries. `outcome` is the worst result of
    `checks`, `exit_code` that of the command. `hits` lists the attempts that gremlins hit; `hits_complete` is false if
    some are missing.
    """

    version: Literal[1] = 1
    run: str
    drill: str
    description: str
    source: str
    text: str
    seed: int
    key_prefix: str
    started_at: datetime
    seconds: float
    context: str
    versions: dict[str, str]
    rerun_command: str
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
    figures: list[PhaseMetrics]
    events: list[Event]
    timeline: list[Second]
    audit: Audit | None
    journal: str | None
    replays: str | None = None
    comparison: Comparison | None = None


decoder: msgspec.json.Decoder[Receipt] = msgspec.json.Decoder(Receipt)


def encode(receipt: Receipt) -> bytes:
    return escape_json(msgspec.json.format(msgspec.json.encode(receipt), indent=1).decode()).encode()


def comparable_metrics(receipt: Receipt) -> dict[str, Any]:
    """Return the metrics of a run that can be compared with another run, by unique name."""
    metrics: dict[str, Any] = {
        f"{figures.phase} {name}": value for figures in receipt.figures for name, value in figures.measured.items()
    }
    return metrics | {"breaker opened after": receipt.opened_after, "recovered after": receipt.recovered_after}
