"""The receipt of a campaign: its plan, the faults that occurred, violations, conclusions, and how to repeat it."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from tests.faults.report import NemesisReport
from tests.faults.scenarios import Cell
from tests.faults.trials import Trial

SIGNALS = {"kill": "SIGKILL", "stop": "SIGSTOP"}


class Count(msgspec.Struct, frozen=True, kw_only=True):
    """The trials of one crash point and signal.

    `not_fired` counts runs that never reached the point; they are no trials.
    """

    process: str
    point: str
    signal: str
    planned: int
    fired: int
    not_fired: int
    unsettled: int
    violations: int


class Settling(msgspec.Struct, frozen=True):
    """Seconds from the fault to the end of a trial's last order."""

    p50: float
    p99: float
    longest: float


class Violation(msgspec.Struct, frozen=True):
    """A violation, the trial or run in which it occurred, and its evidence."""

    where: str
    wrong: Sequence[str]
    evidence: Any


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """The full result of a campaign."""

    seed: int
    versions: Mapping[str, str]
    started: datetime
    ended: datetime
    trials: Sequence[Count]
    orders: int
    requests: int
    unanswered: int
    taken_over: int
    faults: Mapping[str, int]
    settling: Settling | None
    nemesis: NemesisReport | None
    violations: Sequence[Violation]
    unsettled: Sequence[Violation]
    bound: str | None
    repeat: str

    @property
    def fired(self) -> int:
        return sum(count.fired for count in self.trials)

    @property
    def missing(self) -> list[Count]:
        """Crash points and signals with fewer trials than planned."""
        return [count for count in self.trials if count.fired < count.planned]

    @property
    def exit_code(self) -> int:
        """0: held; 11: an invariant was violated; 12: a fault never fired, orders did not settle, or no trial ran."""
        if self.violations:
            return 11
        tried = self.fired or self.nemesis is not None
        return 12 if self.unsettled or self.missing or not tried else 0


class Campaign(msgspec.Struct, frozen=True, kw_only=True):
    """The plan: `trials` of each of the `cells`."""

    seed: int
    trials: int
    cells: tuple[Cell, ...]
    started: datetime
    versions: Mapping[str, str]
    repeat: str


def write_up(campaign: Campaign, trials: Sequence[Trial], nemesis: NemesisReport | None, ended: datetime) -> Receipt:
    """Return the receipt of all results."""
    fired = [trial for trial in trials if trial.fired]
    violations = [_of_trial(trial) for trial in trials if trial.outcome == "violated"]
    unsettled = [_of_trial(trial) for trial in trials if trial.outcome == "unsettled"]
    if nemesis is not None and nemesis.verdict != "clean":
        (violations if nemesis.verdict == "violated" else unsettled).append(_of_nemesis(nemesis))
    faults = Counter(f"{SIGNALS[trial.cell.strike]} at a step of {trial.cell.process}" for trial in fired)
    return Receipt(
        seed=campaign.seed,
        versions=campaign.versions,
        started=campaign.started,
        ended=ended,
        trials=_counts(campaign, trials),
        orders=sum(trial.orders for trial in trials),
        requests=sum(trial.sent for trial in trials),
        unanswered=sum(trial.unanswered for trial in trials),
        taken_over=sum(trial.taken_over is True for trial in trials),
        faults=faults + Counter(nemesis.faults if nemesis else {}),
        settling=_settling([trial.settled_after for trial in fired if trial.settled_after is not None]),
        nemesis=nemesis,
        violations=violations,
        unsettled=unsettled,
        bound=bound(sum(trial.outcome == "held" for trial in trials)) if not violations else None,
        repeat=campaign.repeat,
    )


def bound(trials: int) -> str | None:
    """Return the upper bound that follows from independent trials without a violation: the rule of three."""
    if not trials:
        return None
    most = min(1.0, 3 / trials)
    return (
        f"no violation in {trials} independent trials: at most {most:.2%} of trials violate, at 95 % confidence"
        " (the rule of three)"
    )


def as_json(receipt: Receipt) -> bytes:
    return msgspec.json.format(msgspec.json.encode(receipt), indent=2)


def as_markdown(receipt: Receipt) -> str:
    """Return the receipt as Markdown."""
    parts = [
        "# Fault campaign",
        _verdict(receipt),
        *([f"Bound: {receipt.bound}."] if receipt.bound else []),
        f"Repeat it: `{receipt.repeat}`",
        _table(["", ""], [[name, version] for name, version in _facts(receipt)]),
        "## Trials",
        _trials_table(receipt.trials),
        "## Faults that fired",
        _table(["fault", "times"], [[name, str(times)] for name, times in sorted(receipt.faults.items())]),
        *_nemesis(receipt.nemesis),
        *_list("Violations", receipt.violations),
        *_list("Not settled", receipt.unsettled),
    ]
    return "\n\n".join(parts) + "\n"


def summary(receipt: Receipt) -> str:
    """Return the verdict in a few lines, without Markdown."""
    lines = [
        _verdict(receipt).replace("**", ""),
        *(f"{name}: {value}" for name, value in _facts(receipt)),
        *([receipt.bound] if receipt.bound else []),
        *(
            f"{violation.where}: {'; '.join(violation.wrong)}"
            for violation in (*receipt.violations, *receipt.unsettled)
        ),
        *(f"{c.process}/{c.point} {c.signal}: {c.fired} of {c.planned} trials fired" for c in receipt.missing),
        f"repeat it: {receipt.repeat}",
    ]
    return "\n".join(lines) + "\n"


def _counts(campaign: Campaign, trials: Iterable[Trial]) -> list[Count]:
    by_cell: dict[Cell, list[Trial]] = {}
    for trial in trials:
        by_cell.setdefault(trial.cell, []).append(trial)
    return [
        Count(
            process=cell.process,
            point=cell.point,
            signal=SIGNALS[cell.strike],
            planned=campaign.trials,
            fired=sum(trial.fired for trial in ran),
            not_fired=sum(not trial.fired for trial in ran),
            unsettled=sum(trial.outcome == "unsettled" for trial in ran),
            violations=sum(trial.outcome == "violated" for trial in ran),
        )
        for cell in campaign.cells
        for ran in [by_cell.get(cell, [])]
    ]


def _settling(seconds: Sequence[float]) -> Settling | None:
    if not seconds:
        return None
    ranked = sorted(seconds)

    def at(share: float) -> float:
        return ranked[math.ceil(share * len(ranked)) - 1]

    return Settling(at(0.5), at(0.99), ranked[-1])


def _of_trial(trial: Trial) -> Violation:
    return Violation(trial.seed, trial.wrong, trial.evidence)


def _of_nemesis(report: NemesisReport) -> Violation:
    broken = [f"audit: {text.name}: {text.broken} broken" for text in report.audit.invariants if text.broken]
    wrong = [report.verdict, *report.contradictions, *report.troubles, *broken]
    return Violation("nemesis", wrong, "see the report above")


def _verdict(receipt: Receipt) -> str:
    if receipt.violations:
        return f"**VIOLATED**: an invariant broke in {len(receipt.violations)} places."
    if receipt.exit_code and not receipt.fired and receipt.nemesis is None:
        return "**INCONCLUSIVE**: nothing was tried."
    if receipt.exit_code:
        return (
            f"**INCONCLUSIVE**: {len(receipt.unsettled)} did not settle,"
            f" {len(receipt.missing)} points and signals lack trials."
        )
    return "**HELD**: each idempotency key had exactly one effect."


def _facts(receipt: Receipt) -> list[tuple[str, str]]:
    settling = receipt.settling
    return [
        ("seed", str(receipt.seed)),
        ("from", f"{receipt.started:%Y-%m-%d %H:%M:%S} UTC"),
        ("to", f"{receipt.ended:%Y-%m-%d %H:%M:%S} UTC"),
        ("trials", f"{receipt.fired} fired, of {sum(count.planned for count in receipt.trials)} planned"),
        ("orders", f"{receipt.orders}, from {receipt.requests} requests, {receipt.unanswered} of them unanswered"),
        ("taken over while a process was stopped", str(receipt.taken_over)),
        (
            "last order settled after the strike",
            f"p50 {settling.p50:.1f} s, p99 {settling.p99:.1f} s, longest {settling.longest:.1f} s"
            if settling
            else "-",
        ),
        *receipt.versions.items(),
    ]


def _trials_table(counts: Iterable[Count]) -> str:
    rows = [
        [c.process, c.point, c.signal, *(str(n) for n in (c.planned, c.fired, c.not_fired, c.unsettled, c.violations))]
        for c in counts
    ]
    return _table(["process", "point", "signal", "planned", "fired", "not fired", "unsettled", "violations"], rows)


def _nemesis(report: NemesisReport | None) -> list[str]:
    if report is None:
        return []
    after = "never" if report.settled_after is None else f"{report.settled_after:.1f} s after the last fault"
    text = (
        f"{report.verdict}: {sum(report.sent.values())} orders sent in {report.seconds:.0f} s under"
        f" {report.acknowledged + report.unknown} keys, of which {report.acknowledged} were acknowledged;"
        f" the last order settled {after}. Repeat it: `{report.command}`"
    )
    return ["## Nemesis", text]


def _list(title: str, violations: Sequence[Violation]) -> list[str]:
    if not violations:
        return []
    text = [f"- `{violation.where}`: {'; '.join(violation.wrong)}" for violation in violations]
    return [f"## {title}", "\n".join(text), "The evidence is in `receipt.json`."]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
