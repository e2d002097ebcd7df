"""What a run comes to: the gravest of its checks, and the exit code that says so. Pure."""

from collections.abc import Mapping, Sequence

import msgspec

from valerix_cli.drills.figures import worst
from valerix_cli.drills.receipt import Check, Comparison, Outcome, Receipt, Verdict
from valerix_cli.drills.watching import Sighting
from valerix_cli.errors import ExitCode
from valerix_cli.gates import say
from valerix_cli.load.model import METRICS

CODES: dict[Outcome, ExitCode] = {
    "passed": ExitCode.DONE,
    "not-rolled-back": ExitCode.ROLLBACK,
    "violated": ExitCode.INVARIANT,
    "missed": ExitCode.EXPECTATION,
    "worse": ExitCode.REGRESSION,
    "inconclusive": ExitCode.INCONCLUSIVE,
}
_GRAVEST: tuple[Outcome, ...] = ("not-rolled-back", "violated", "missed", "worse", "inconclusive", "passed")


def concluded(receipt: Receipt, interrupted: ExitCode | None, broken: str | None) -> Receipt:
    """The receipt with its outcome, exit code and reasons.

    Whoever interrupts a run gets 129, 130 or 143 once all is rolled back; `broken` is why a run was given up.
    """
    found = {_means(check) for check in receipt.checks}
    why = [reason for check in receipt.checks for reason in _why_not(check)]
    if broken:
        found.add("inconclusive")
        why.insert(0, broken)
    if all(check.phase == "roll-back" for check in receipt.checks):
        found.add("inconclusive")  # nothing was looked at
    outcome = next(one for one in _GRAVEST if one in found)
    code = CODES[outcome]
    if interrupted is not None and outcome != "not-rolled-back":
        outcome, code = "interrupted", interrupted
    return msgspec.structs.replace(receipt, outcome=outcome, exit_code=int(code), why=why)


def with_baseline(receipt: Receipt, found: Comparison) -> Receipt:
    """The receipt with what a comparison with an earlier run says, which counts."""
    worse = [one.metric for one in found.differences if one.worse]
    missing = [one.metric for one in found.differences if one.is_missing]
    if worse:
        verdict: Verdict = "missed"
        why = f"{', '.join(worse)} by more than {found.tolerance:.0%}"
    elif found.says_anything:
        verdict, why = "held", f"within {found.tolerance:.0%}"
    else:
        verdict, why = "not-measured", "no figure was measured in both runs"
    why += f"; not compared: {', '.join(missing)}" if missing else ""
    check = Check("baseline", f"not worse than {found.baseline}", verdict, why)
    return _again(msgspec.structs.replace(receipt, comparison=found), check)


def held_against(receipt: Receipt, before: Receipt) -> Receipt:
    """The receipt of a replay, with whether it hit exactly what was hit before."""
    then, now = set(before.hits), set(receipt.hits)
    missing, added = len(then - now), len(now - then)
    why = f"{len(then & now)} attempts again" + (f", {missing} not, {added} others" if missing or added else "")
    if not any(one.kind == "gremlin" for one in (*before.injections, *receipt.injections)):
        return receipt  # processes were struck, and of those there is no list
    is_known = before.hits_complete and receipt.hits_complete and then | now
    same: Verdict = "not-measured" if not is_known else "missed" if missing or added else "held"
    return _again(receipt, Check("faults", "the same attempts were hit", same, why, len(now)))


def gravest(receipts: Sequence[Receipt]) -> Receipt:
    return min(receipts, key=_rank)


def _again(receipt: Receipt, check: Check) -> Receipt:
    """The receipt concluded once more, with another check; that it was interrupted or given up no check says."""
    found = concluded(msgspec.structs.replace(receipt, checks=[*receipt.checks, check]), None, None)
    end = gravest([receipt, found])
    why = [*receipt.why, *_why_not(check)]
    return msgspec.structs.replace(found, outcome=end.outcome, exit_code=end.exit_code, why=why)


def _why_not(check: Check) -> list[str]:
    return [] if check.verdict == "held" else [f"{check.phase}: {check.require}: {check.why}"]


def _rank(receipt: Receipt) -> int:
    return ("interrupted", *_GRAVEST).index(receipt.outcome)


def _means(check: Check) -> Outcome:
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


def in_short(measured: Mapping[str, float | None], seen: Sighting | None) -> str:
    """How it goes, in a line."""
    shown = [(name, measured[name]) for name in ("throughput", "p50", "p95", "error_rate")]
    said = [f"{name} {say(value, METRICS[name])}" for name, value in shown if value is not None]
    if seen is not None:
        said.append(f"breaker {worst(seen.breakers) or 'not known'}")
        said.append(f"backlog {'not known' if seen.backlog is None else seen.backlog}")
    return ", ".join(said)
