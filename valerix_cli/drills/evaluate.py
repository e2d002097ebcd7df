"""Evaluates the requirements of a drill against its measurements. Pure."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from valerix_cli.audit.model import Audit
from valerix_cli.drills.model import Drill
from valerix_cli.drills.monitor import Sample
from valerix_cli.drills.receipt import Check, Injection, Phase, Verdict
from valerix_cli.drills.requirements import Requirement
from valerix_cli.gates import Measured
from valerix_cli.gates import evaluate as evaluate_gates
from valerix_cli.load.metrics import ACCEPTED, REFUSED
from valerix_cli.load.model import CompletedOrder
from valerix_cli.units import format_duration

_AUDIT_VERDICTS: dict[str, Verdict] = {
    "held": "held",
    "violated": "violated",
    "unsettled": "not-measured",
    "not-checked": "not-measured",
}
_BREAKER_UNKNOWN = "the breaker state could not be read"


class Measurements(msgspec.Struct, frozen=True):
    """The values that requirements are evaluated against: metrics (None if not measured) and the breaker.

    `opened_after` is in seconds after the first fault; None means that no sample since then was open, which proves
    something only if `is_monitored`: a sample since then had its state. `is_closed` is the current state, None if
    unknown.
    """

    metrics: Mapping[str, Measured | None]
    opened_after: float | None = None
    is_closed: bool | None = None
    is_monitored: bool = False


def summarize(
    metrics: Mapping[str, Measured | None], samples: Sequence[Sample], opened: Sequence[float], first_fault: float
) -> Measurements:
    """Return the measurements at the last of the `samples`.

    `opened` are the times at which breakers report that they opened, and `first_fault` is the start of the first fault,
    all in seconds since the load began.
    """
    known = [(sample.at, sample.breakers) for sample in samples if sample.breakers]
    is_closed, last = None, samples[-1] if samples else None
    if last is not None and last.breakers:
        is_closed = not last.held_back and all(state == "closed" for state in last.breakers.values())
    sampled_open = [at for at, breakers in known if "open" in breakers.values()]
    delays = [at - first_fault for at in (*sampled_open, *opened) if at >= first_fault]
    is_monitored = any(at >= first_fault for at, _ in known)
    return Measurements(metrics, round(min(delays), 2) if delays else None, is_closed, is_monitored)


def evaluate(phase: Phase, requirements: Sequence[Requirement], measurements: Measurements) -> list[Check]:
    return [_evaluate(phase, requirement, measurements) for requirement in requirements]


def all_hold(requirements: Sequence[Requirement], measurements: Measurements) -> bool:
    """Return True if every requirement holds."""
    return all(check.verdict == "held" for check in evaluate("recover", requirements, measurements))


def orders_answered(orders: Sequence[CompletedOrder]) -> Check:
    """Check that the load got any order or refusal; otherwise neither gates nor the audit prove anything."""
    answered = sum(order.outcome in ACCEPTED | REFUSED for order in orders)
    why = f"{answered:,} of {len(orders):,} were accepted or refused" if orders else "not one was sent"
    return Check("faults", "orders are answered", "held" if answered else "not-measured", why, answered)


def faults_fired(drill: Drill, injections: Mapping[int, Injection]) -> list[Check]:
    """Check that each fault of the drill hit something. `injections` are by the number of the fault."""
    return [_fault_fired(fault.description, injections.get(number)) for number, fault in enumerate(drill.faults)]


def only_own_faults(
    drill: Drill, injections: Iterable[Injection], samples: Iterable[Sample], lost: str | None
) -> Check:
    """Check that no other faults affected the run. `lost` is the reason the drill lost its lease."""
    own = {activation for injection in injections for activation in injection.activations}
    readable = [sample for sample in samples if sample.injected is not None]
    live = {str(sample.gremlin.id): sample.gremlin.reason for sample in readable if sample.gremlin}
    others = {id_: reason for id_, reason in live.items() if id_ not in own and reason != drill.activation_reason}
    wrong = [f"gremlin {id_} was live" + (f": {reason}" if reason else "") for id_, reason in others.items()]
    wrong += [lost] if lost else []
    wrong += [] if readable else ["the gremlins could not be read"]
    verdict: Verdict = "not-measured" if wrong else "held"
    return Check("faults", "no faults but its own", verdict, "; ".join(wrong) or "none was seen", len(others))


def never(requirements: Sequence[Requirement], decided: Sequence[int], aborted_by: int | None) -> list[Check]:
    """Check that no abort condition was met.

    `decided` counts, for each condition, the evaluations with enough data; `aborted_by` is the number of the condition
    that ended the drill.
    """
    checks = []
    for number, requirement in enumerate(requirements):
        verdict: Verdict = "missed" if number == aborted_by else "held" if decided[number] else "not-measured"
        why = {
            "missed": "it was so",
            "held": f"{decided[number]:,} evaluations",
            "not-measured": "no evaluation had enough data",
        }[verdict]
        checks.append(Check("faults", f"never {requirement.text}", verdict, why, decided[number]))
    return checks


def drained(*, unanswered: bool, is_empty: bool, left: int | None, within: float) -> Check:
    """Check that every order is finished: none in flight, and `left` in the queue (None if it could not be read)."""
    if unanswered:
        verdict: Verdict = "missed"
        why = f"orders are without an answer after {format_duration(within)}"
    elif is_empty:
        verdict, why = "held", "nothing is queued"
    elif left:
        verdict, why = "missed", f"{left} orders are queued after {format_duration(within)}"
    else:
        verdict, why = "not-measured", f"the queue was not read as empty within {format_duration(within)}"
    return Check("drain", "every order is finished", verdict, why, left)


def rolled_back(drill: Drill, left: Sequence[str]) -> Check:
    """Check that all faults are off. `left` describes those that may not be."""
    why = "no gremlin is live" + (", every process runs" if drill.affects_processes else "")
    return Check("roll-back", "all faults are off", "missed" if left else "held", "; ".join(left) or why)


def invariants(drill: Drill, audit: Audit) -> list[Check]:
    """Return a check for each required invariant; one that the audit left out was not measured."""
    known = {one.name: one for one in audit.invariants}
    required = [*known] if drill.invariants == "all" else drill.invariants
    checks = []
    for name in required:
        if (one := known.get(name)) is None:
            why = "; ".join(audit.not_checked) or "the audit left it out"
            checks.append(Check("audit", name, "not-measured", f"not checked: {why}"))
            continue
        first = f"; {one.examples[0].subject}: {one.examples[0].wrong}" if one.examples else ""
        why = f"{one.broken:,} of {one.checked:,} {one.of} break it{first}"
        if not one.checked and not one.broken:
            why = f"there are no {one.of} that could break it"
        checks.append(Check("audit", name, _AUDIT_VERDICTS[one.verdict], why, one.broken))
    return checks


def not_reached(drill: Drill, checks: Sequence[Check]) -> list[Check]:
    """Return the requirements of the drill without a check, because the run ended before."""
    parts: list[tuple[Phase, Sequence[Requirement]]] = [
        ("steady", drill.steady.require if drill.steady else ()),
        ("faults", drill.expect),
        ("recover", drill.recover.require if drill.recover else ()),
    ]
    required = [(phase, requirement.text) for phase, part in parts for requirement in part]
    required += [("drain", "every order is finished"), ("audit", "the audit")]
    known = {(check.phase, check.require) for check in checks}
    if any(check.phase == "audit" for check in checks):
        known.add(("audit", "the audit"))
    return [Check(*one, "not-measured", "the run ended before") for one in dict.fromkeys(required) if one not in known]


def _evaluate(phase: Phase, requirement: Requirement, measurements: Measurements) -> Check:
    if requirement.gate is None:
        return _evaluate_breaker(phase, requirement, measurements)
    (check,) = evaluate_gates([requirement.gate], measurements.metrics)
    if check.held is None:
        too_few = f"{requirement.gate.metric}: too little data"
        why = too_few if check.measured is None else check.why
        return Check(phase, requirement.text, "not-measured", why, check.measured)
    return Check(phase, requirement.text, "held" if check.held else "missed", check.why, check.measured)


def _evaluate_breaker(phase: Phase, requirement: Requirement, measurements: Measurements) -> Check:
    after, text = measurements.opened_after, requirement.text
    opened = "the breaker did not open" if after is None else f"the breaker opened after {format_duration(after)}"
    if requirement.breaker == "closed":
        if measurements.is_closed is None:
            return Check(phase, text, "not-measured", _BREAKER_UNKNOWN)
        if measurements.is_closed:
            return Check(phase, text, "held", "it is closed")
        return Check(phase, text, "missed", "it is not closed")
    if after is None and not measurements.is_monitored:
        return Check(phase, text, "not-measured", _BREAKER_UNKNOWN)
    if requirement.breaker == "stayed closed":
        return Check(phase, text, "held" if after is None else "missed", opened, after)
    in_time = after is not None and (requirement.within is None or after <= requirement.within)
    return Check(phase, text, "held" if in_time else "missed", opened, after)


def _fault_fired(description: str, injection: Injection | None) -> Check:
    if injection is None:
        return Check("faults", f"fired: {description}", "not-measured", "it never began")
    why = f"injected {injection.hits}" + (f" of {injection.rolls}" if injection.kind == "gremlin" else "")
    verdict: Verdict = "held" if injection.hits else "not-measured"
    return Check("faults", f"fired: {description}", verdict, why, injection.hits)
