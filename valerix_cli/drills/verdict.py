"""Decides the outcome of a run from its checks, and its exit code. Pure."""

from collections.abc import Mapping, Sequence

import msgspec

from valerix_cli.drills.metrics import worst_state
from valerix_cli.drills.monitor import Sample
from valerix_cli.drills.receipt import Check, Comparison, Outcome, Receipt, Verdict
from valerix_cli.errors import ExitCode
from valerix_cli.gates import format_value
from valerix_cli.load.model import METRICS

CODES: dict[Outcome, ExitCode] = {
    "passed": ExitCode.DONE,
    "not-rolled-back": ExitCode.ROLLBACK,
    "violated": ExitCode.INVARIANT,
    "missed": ExitCode.EXPECTATION,
    "worse": ExitCode.REGRESSION,
    "inconclusive": ExitCode.INCONCLUSIVE,
}
_WORST_FIRST: tuple[Outcome, ...] = ("not-rolled-back", "violated", "missed", "worse", "inconclusive", "passed")


def conclude(receipt: Receipt, interrupted: ExitCode | None, aborted: str | None) -> Receipt:
    """Return the receipt with its outcome, exit code and reasons.

    An interrupted run ends with 129, 130 or 143 if all faults are off. `aborted` is the reason for an early end.
    """
    outcomes = {_outcome(check) for check in receipt.checks}
    why = [reason for check in receipt.checks for reason in _failure(check)]
    if aborted:
        outcomes.add("inconclusive")
        why.insert(0, aborted)
    if all(check.phase == "roll-back" for check in receipt.checks):
        outcomes.add("inconclusive")  # nothing was evaluated
    outcome = next(one for one in _WORST_FIRST if one in outcomes)
    code = CODES[outcome]
    if interrupted is not None and outcome != "not-rolled-back":
        outcome, code = "interrupted", interrupted
    return msgspec.structs.replace(receipt, outcome=outcome, exit_code=int(code), why=why)


def add_comparison(receipt: Receipt, comparison: Comparison) -> Receipt:
    """Return the receipt with a comparison with an earlier run, which affects the outcome."""
    worse = [one.metric for one in comparison.differences if one.worse]
    missing = [one.metric for one in comparison.differences if one.is_missing]
    if worse:
        verdict: Verdict = "missed"
        why = f"{', '.join(worse)} by more than {comparison.tolerance:.0%}"
    elif comparison.has_common_metric:
        verdict, why = "held", f"within {comparison.tolerance:.0%}"
    else:
        verdict, why = "not-measured", "no figure was measured in both runs"
    why += f"; not compared: {', '.join(missing)}" if missing else ""
    check = Check("baseline", f"not worse than {comparison.baseline}", verdict, why)
    return _add_check(msgspec.structs.replace(receipt, comparison=comparison), check)


def compare_hits(receipt: Receipt, original: Receipt) -> Receipt:
    """Return the receipt of a replay with a check that it hit exactly the attempts of the original run."""
    before, now = set(original.hits), set(receipt.hits)
    missing, added = len(before - now), len(now - before)
    why = f"{len(before & now)} attempts again" + (f", {missing} not, {added} others" if missing or added else "")
    if not any(one.kind == "gremlin" for one in (*original.injections, *receipt.injections)):
        return receipt  # faults of processes have no hits to compare
    is_known = original.hits_complete and receipt.hits_complete and before | now
    same: Verdict = "not-measured" if not is_known else "missed" if missing or added else "held"
    return _add_check(receipt, Check("faults", "the same attempts were hit", same, why, len(now)))


def worst(receipts: Sequence[Receipt]) -> Receipt:
    """Return the receipt with the worst outcome."""
    return min(receipts, key=_rank)


def progress_line(metrics: Mapping[str, float | None], sample: Sample | None) -> str:
    """Format the progress of a run."""
    values = [(name, metrics[name]) for name in ("throughput", "p50", "p95", "error_rate")]
    parts = [f"{name} {format_value(value, METRICS[name])}" for name, value in values if value is not None]
    if sample is not None:
        parts.append(f"breaker {worst_state(sample.breakers) or 'not known'}")
        parts.append(f"backlog {'not known' if sample.backlog is None else sample.backlog}")
    return ", ".join(parts)


def _add_check(receipt: Receipt, check: Check) -> Receipt:
    """Decide the outcome again with another check. An interruption or an early end remains."""
    concluded = conclude(msgspec.structs.replace(receipt, checks=[*receipt.checks, check]), None, None)
    final = worst([receipt, concluded])
    why = [*receipt.why, *_failure(check)]
    return msgspec.structs.replace(concluded, outcome=final.outcome, exit_code=final.exit_code, why=why)


def _failure(check: Check) -> list[str]:
    return [] if check.verdict == "held" else [f"{check.phase}: {check.require}: {check.why}"]


def _rank(receipt: Receipt) -> int:
    return ("interrupted", *_WORST_FIRST).index(receipt.outcome)


def _outcome(check: Check) -> Outcome:
    match check:
        case Check(verdict="held"):
            return "passed"
        case Check(phase="roll-back"):
            return "not-rolled-back"
        case Check(verdict="violated"):
            return "violated"
        case Check(phase="steady") | Check(verdict="not-measured"):
            return "inconclusive"
        case Check(phase="baseline"):
            return "worse"
        case _:
            return "missed"
