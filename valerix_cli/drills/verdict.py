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
    why = [f"{check.phase}: {check.require}: {check.why}" for check in receipt.checks if check.verdict != "held"]
    if broken:
        found.add("inconclusive")
        why.insert(0, broken)
    if not any(check.verdict == "held" and check.phase != "roll-back" for check in receipt.checks):
        found.add("inconclusive")  # nothing was looked at
    outcome = next(one for one in _GRAVEST if one in found or one == "passed")
    code = CODES[outcome]
    if interrupted is not None and outcome != "not-rolled-back":
        outcome, code = "interrupted", interrupted
    return msgspec.structs.replace(receipt, outcome=outcome, exit_code=int(code), why=why)


def with_baseline(receipt: Receipt, found: Comparison) -> Receipt:
    """The receipt with what a comparison with an earlier run says, which counts."""
    worse = [one.metric for one in found.differences if one.worse]
    missing = [one.metric for one in found.differences if one.is_missing]
    why = f"{', '.join(worse)} by more than {found.tolerance:.0%}" if worse else f"within {found.tolerance:.0%}"
    why += f"; not compared: {', '.join(missing)}" if missing else ""
    verdict: Verdict = "missed" if worse else "held" if found.says_anything else "not-measured"
    check = Check("baseline", f"not worse than {found.baseline}", verdict, why)
    return _again(msgspec.structs.replace(receipt, comparison=found), check)


def held_against(receipt: Receipt, before: Receipt) -> Receipt:
    """The receipt of a replay, with whether it hit exactly what was hit before."""
    then, now = set(before.hits), set(receipt.hits)
    missing, added = len(then - now), len(now - then)
    why = f"{len(then & now)} attempts again" + (f", {missing} not, {added} others" if missing or added else "")
    if not then | now and not any(one.kind == "gremlin" for one in (*before.injections, *receipt.injections)):
        return receipt  # processes were struck, and of those there is no list
    is_known = before.hits_complete and receipt.hits_complete and then | now
    same: Verdict = "not-measured" if not is_known else "missed" if missing or added else "held"
    return _again(receipt, Check("faults", "the same attempts were hit", same, why, len(now)))


def gravest(receipts: Sequence[Receipt]) -> Receipt:
    order = ("interrupted", *_GRAVEST)
    return min(receipts, key=lambda receipt: order.index(receipt.outcome))


def _again(receipt: Receipt, check: Check) -> Receipt:
    """The receipt concluded once more, with another check."""
    found = concluded(msgspec.structs.replace(receipt, checks=[*receipt.checks, check]), None, None)
    if _rank(receipt.outcome) <= _rank(found.outcome):  # it was interrupted or given up, which no check says
        return msgspec.structs.replace(found, outcome=receipt.outcome, exit_code=receipt.exit_code, why=[*receipt.why])
    return found


def _rank(outcome: Outcome) -> int:
    return ("interrupted", *_GRAVEST).index(outcome)


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
